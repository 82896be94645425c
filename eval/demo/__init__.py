"""The demo and `make optimize`: three tiny real models on everyday questions."""
