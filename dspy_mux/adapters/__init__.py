"""How a member is asked and how its reply is read: prompt formats, answer extraction, guards against markers."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
