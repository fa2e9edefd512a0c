"""Writes docs/rules.md from the rules: `python docs/make_rules.py`."""

from pathlib import Path

from xbrletools.verify.reference import document

if __name__ == "__main__":
    Path(__file__).with_name("rules.md").write_text(document(), "utf-8")
