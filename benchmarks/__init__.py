"""How fast xbrletools is compared with the original algorithm in C, path by path: `python -m benchmarks`."""
