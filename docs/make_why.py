"""Writes docs/why.md from the messages that are known: `python docs/make_why.py`."""

from pathlib import Path

from xbrletools.verify.messages import document

if __name__ == "__main__":
    Path(__file__).with_name("why.md").write_text(document(), "utf-8")
