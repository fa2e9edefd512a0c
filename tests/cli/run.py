"""Runs a command in this process."""

from xbrletools.cli import main


def run(capsys, *arguments: object) -> tuple[int, str, str]:
    """The exit status, standard output and standard error of ``xbrle`` with these arguments."""
    status = main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return status, out, err
