"""Benchmarks: Strait and its peers in turns, measured by the same code."""
