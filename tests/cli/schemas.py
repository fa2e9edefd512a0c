"""Holds what a command prints with --json to its JSON Schema."""

import functools
import json
from typing import Any

from jsonschema import Draft202012Validator

from xbrletools.cli.jsondoc import schema_of


def _refuse(word: str) -> None:
    raise AssertionError(f"{word} is not JSON")


def objects(text: str) -> list[dict[str, Any]]:
    """The objects of an output, one a line."""
    return [json.loads(line, parse_constant=_refuse) for line in text.splitlines()]


@functools.cache
def _validators(command: str) -> dict[str, Draft202012Validator]:
    schema = schema_of(command)
    parts = [ref["$ref"].rpartition("/")[2] for ref in schema["anyOf"]]
    return {part: Draft202012Validator({**schema, "anyOf": [{"$ref": f"#/$defs/{part}"}]}) for part in parts}


def part_of(command: str, about: dict[str, Any]) -> str:
    """The part of the command's schema that an object is. Where it is none, the test fails and says why."""
    validators, reasons = _validators(command), {}
    if about.get("type") in validators:  # the other parts have another type
        validators = {about["type"]: validators[about["type"]]}
    for part, validator in validators.items():
        errors = [f"{'.'.join(map(str, e.absolute_path))}: {_why(e)}" for e in validator.iter_errors(about)]
        if not errors:
            return part
        reasons[part] = errors[:3]
    raise AssertionError(f"xbrle {command} --json printed what its schema does not have: {reasons}")


def _why(error: Any) -> str:
    return error.message[:300] if not error.context else "; ".join(_why(e) for e in error.context)


def parts_in(command: str, text: str) -> set[str]:
    """The parts of the schema that an output holds. Where an object is none of them, the test fails."""
    return {part_of(command, about) for about in objects(text)}
