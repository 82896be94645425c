"""dspy-mux: a pool of small language models as one DSPy program (SLM-MUX).

Names are loaded when they are first used: `import dspy_mux` alone does not import DSPy. The stub
beside this file lists them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

__version__ = "0.1.0"
