"""The command line `dspy-mux`: its verbs, options and output; errors become one line here only."""
