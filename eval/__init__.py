"""Evaluation: `python -m eval …`. Methods × tasks × pools, from real draws, with error bars."""
