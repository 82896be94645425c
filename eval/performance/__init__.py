"""Benchmarks: timings as ratios within one run; no test asserts them."""
