"""`python -m dspy_mux`: the `dspy-mux` command."""

from .cli.main import main

main()
