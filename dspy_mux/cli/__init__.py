"""The command line `dspy-mux`: one file per verb, shared options and output, one-line errors."""
