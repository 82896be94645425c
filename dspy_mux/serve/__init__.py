"""A mux behind OpenAI's protocol: the application, what it serves, and how it is kept up."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
