"""One target under atheris: ``python -m tests.fuzz.one TARGET CORPUS [libFuzzer's options]``."""

import sys

import atheris

with atheris.instrument_imports(include=["xbrletools"]):
    import numpy  # noqa: F401 - not instrumented, and known before what is

    from tests.fuzz.targets import TARGETS

if __name__ == "__main__":
    name = sys.argv.pop(1)
    atheris.Setup(sys.argv, TARGETS[name].call)
    atheris.Fuzz()
