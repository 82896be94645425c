"""Read recorded outputs in the formats of the tools that made them."""
