"""Record draws, keep them, and exchange them as files; `storage/` below knows the database."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
