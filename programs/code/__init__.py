"""Read and run code that models wrote: completions, and the sandbox they run in."""
