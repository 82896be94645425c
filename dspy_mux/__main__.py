"""`python -m dspy_mux`: the `dspy-mux` command."""

from .cli import main

main()
