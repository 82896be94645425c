"""What `dspy-mux init` is made of: find models, choose some, write a pool file and a task."""
