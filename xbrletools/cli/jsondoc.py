"""docs/json.md, made of the JSON Schemas that ship with the package: `python docs/make_json.py`."""

import json
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any

_HEAD = """# JSON

With `--json` a command prints what it answers as JSON: one object a line. What is for a person goes to standard error.
The exit status is the same with and without `--json`.

- Every object has `"format": 1`. The number changes only if a key goes away or means something else. New keys can come
  at any time, so a script has to skip keys that it does not know.
- `null` stands where there is nothing, or where it cannot be told.
- Sizes and addresses are numbers, in bytes. `offset` is a file offset if the table does not say otherwise, `page` an
  address in a RAM block, and `address` a guest-physical one. Records are numbered from 1, as in text and in options.
- Names that a stream gives are text. What is not printable in them is escaped.

For each command there is a JSON Schema, in the folder `schemas` of the installed package:

```python
import json
from importlib.resources import files

schema = json.loads((files("xbrletools") / "schemas" / "info.json").read_text("utf-8"))
```

The tests hold the output of every command against it. This page is made of the same schemas. Its tables name the key of
a list's item `LIST[].KEY`, and that of a value by name `NAME{}.KEY`. A key with a ? is not always there.
"""
_WORDS = {"integer": "integer", "number": "number", "string": "text", "boolean": "true or false", "null": "null"}
#: Commands whose answer is JSON without the option.
ALWAYS = ("describe",)


def names() -> list[str]:
    """The commands that have a schema, in the order of the alphabet."""
    folder = files("xbrletools") / "schemas"
    return sorted(p.name.removesuffix(".json").replace("-", " ") for p in folder.iterdir() if p.name.endswith(".json"))


def schema_of(command: str) -> dict[str, Any]:
    """The JSON Schema of an object that ``command``, such as info or vectors check, prints with --json."""
    path = files("xbrletools") / "schemas" / f"{command.replace(' ', '-')}.json"
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


def document() -> str:
    """The text of docs/json.md."""
    return "\n".join([_HEAD, *(line for name in names() for line in _command(name))])


def _command(name: str) -> Iterator[str]:
    schema = schema_of(name)
    yield f"## xbrle {name}{'' if name in ALWAYS else ' --json'}\n"
    yield f"{schema['description']}\n"
    for part in schema["$defs"].values():
        yield f"### {part['title']}\n"
        yield "| key | type | what it is |\n| --- | --- | --- |"
        yield from _rows(part, "")
        yield ""


def _rows(part: Mapping[str, Any], prefix: str) -> Iterator[str]:
    """A row for each key of an object, and below it those of the objects in it."""
    for key, value in part["properties"].items():
        name = f"{prefix}{key}{'' if key in part['required'] else '?'}"
        yield f"| `{name}` | {_type(value)} | {_escaped(value['description'])} |"
        inner, path = _inner(value, f"{prefix}{key}")
        if inner is not None:
            yield from _rows(inner, f"{path}.")


def _inner(value: Mapping[str, Any], path: str) -> tuple[Mapping[str, Any] | None, str]:
    """The object that a value is or holds, and the path of it."""
    if "properties" in value:
        return value, path
    if "items" in value:
        return _inner(value["items"], f"{path}[]")
    if isinstance(more := value.get("additionalProperties"), Mapping):
        return _inner(more, f"{path}{{}}")
    return None, path


def _type(value: Mapping[str, Any]) -> str:
    """The type of a value in words."""
    if "const" in value:
        return f"`{json.dumps(value['const'])}`"
    if "enum" in value:
        return ", ".join("null" if v is None else f"`{v}`" for v in value["enum"])
    if "$ref" in value:
        return f"object: {value['$ref'].rpartition('/')[2].replace('_', ' ')}"
    if "anyOf" in value:
        return " or ".join(map(_type, value["anyOf"]))
    types = value.get("type", [])
    words = [_word(value, t) for t in ([types] if isinstance(types, str) else types)]
    return " or ".join(words) or "any"


def _word(value: Mapping[str, Any], type_: str) -> str:
    if type_ == "array":
        return f"list of {_type(value['items'])}"
    if type_ == "object":
        return f"by name: {_type(value['additionalProperties'])}" if value.get("additionalProperties") else "object"
    return _WORDS[type_]


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
