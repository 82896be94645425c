"""Task programs: one declarative DSPy program per task, each with its signature, metric and examples."""
