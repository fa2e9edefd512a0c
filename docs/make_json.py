"""Writes docs/json.md from the schemas: `python docs/make_json.py`."""

from pathlib import Path

from xbrletools.cli.jsondoc import document

if __name__ == "__main__":
    Path(__file__).with_name("json.md").write_text(document(), "utf-8")
