"""Choose members, k and rule: subset search, studies, scaling curves, and `MuxOptimizer`."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
