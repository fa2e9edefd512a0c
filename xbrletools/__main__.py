"""``python -m xbrletools`` is ``xbrle``."""

import sys

from .cli import main

sys.exit(main())
