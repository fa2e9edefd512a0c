"""The version of this program, alone, so that any module can know it."""

__version__ = "0.1.0"
