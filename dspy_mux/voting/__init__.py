"""Decide among ballots: rules, verdicts and what each rule still needs to draw. No DSPy, no I/O."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
