"""How fast every path is, side by side with the original program's algorithm in C: `python -m benchmarks`."""
