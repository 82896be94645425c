"""Task programs: one declarative DSPy program per task, with its signature, metric and examples."""
