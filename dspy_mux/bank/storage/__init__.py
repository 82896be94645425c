"""The database under a bank: its tables, their versions, and what to do when it fails."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
