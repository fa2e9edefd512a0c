"""`python -m benchmarks` times the paths, checks their results, and prints one table."""

import sys

from .command import main

sys.exit(main())
