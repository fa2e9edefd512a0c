"""Writes the tables of docs/tables.md from the schema, between its two marks: `python docs/make_tables.py`."""

from pathlib import Path

from xbrletools.arrow.values import Type
from xbrletools.tables.schema import CAPTURE, SOURCE_ID, TABLES

BEGIN, END = "<!-- the schema: python docs/make_tables.py -->", "<!-- the end of the schema -->"
_WORDS = {
    "b": "true or false",
    "g": "number",
    "U": "text",
    "Z": "bytes",
    "w:16": "16 bytes",
    "tsu:UTC": "time",
    "C": "uint8",
    "S": "uint16",
    "I": "uint32",
    "L": "uint64",
    "l": "int64",
}


def _type(type_: Type) -> str:
    return "text" if type_.words else _WORDS[type_.format]


def schema() -> str:
    """Every table with its columns."""
    lines = []
    for table in TABLES.values():
        lines += [
            f"### {table.name}",
            "",
            table.about,
            "",
            "| column | type | unit | what it is |",
            "| --- | --- | --- | --- |",
        ]
        first = [SOURCE_ID] if table.name in ("sources", "errors") else []
        first += [] if table.name == "errors" else [CAPTURE]
        for f in (*first, *table.fields):
            lines.append(f"| `{f.name}` | {_type(f.type)} | {f.unit} | {f.about} |")
        lines.append("")
    return "\n".join(lines)


def document(text: str) -> str:
    """The text of docs/tables.md with the tables as the schema has them."""
    head, _, rest = text.partition(BEGIN)
    return f"{head}{BEGIN}\n\n{schema()}\n{END}{rest.partition(END)[2]}"


if __name__ == "__main__":
    path = Path(__file__).with_name("tables.md")
    path.write_text(document(path.read_text("utf-8")), "utf-8")
