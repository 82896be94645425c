from .app import create_app as create_app
from .chat import chat_mux as chat_mux
from .settings import ServeSettings as ServeSettings
