"""Timings, each as a ratio against something real in the same run. Benchmarks only: no test asserts them."""
