"""``python -m xbrletools`` is ``xbrle``, and both begin here, where nothing is imported yet that takes time."""

import sys


def start() -> int:
    """Run the command line. An interrupt is one line from the very beginning, not only once there is a command."""
    try:
        from .cli import main

        return main()
    except KeyboardInterrupt:
        sys.stderr.write("xbrle: interrupted\n")
        return 130  # cli.EXIT_INTERRUPTED, which may not be there


if __name__ == "__main__":
    sys.exit(start())
