"""`python -m benchmarks`: time the paths, check them, and print one table."""

import sys

from .command import main

sys.exit(main())
