"""Compare every method on one task: draw, score, and decide on the same draws."""
