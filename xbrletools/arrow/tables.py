"""A table in Arrow's form: what readers of Arrow take as it is, and what three of them make of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from ..errors import XbrleError
from . import interface
from .values import Batch, Batches, Schema

#: The types of whole numbers, as pandas calls those that can be null.
_WHOLE = ("UInt8", "UInt16", "UInt32", "UInt64", "Int32", "Int64")


@dataclass(frozen=True, slots=True, eq=False)
class ArrowTable:
    """A table that is made a batch at a time, each time that it is read.

    duckdb, polars, pyarrow and everything else that takes the Arrow PyCapsule interface reads it as it is.
    """

    schema: Schema
    batches: Batches

    def __iter__(self) -> Iterator[Batch]:
        """The batches."""
        return self.batches()

    def __arrow_c_schema__(self) -> Any:
        """The schema, as a PyCapsule."""
        return interface.schema_capsule(self.schema)

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """The rows, as a PyCapsule. Another schema than the table's own is not made: the reader casts."""
        return interface.stream_capsule(self.schema, self.batches)

    def to_arrow(self) -> Any:
        """A ``pyarrow.Table``.

        Raises:
            XbrleError: pyarrow is not installed.
        """
        return _module("pyarrow").table(self)

    def to_pandas(self) -> Any:
        """A ``pandas.DataFrame``, made by pyarrow. Numbers stay whole numbers where some are null.

        Raises:
            XbrleError: pandas or pyarrow is not installed.
        """
        pandas, pyarrow = _module("pandas"), _module("pyarrow")
        whole = {getattr(pyarrow, name.lower())(): getattr(pandas, f"{name}Dtype")() for name in _WHOLE}
        return self.to_arrow().to_pandas(types_mapper=whole.get)

    def to_polars(self) -> Any:
        """A ``polars.DataFrame``.

        Raises:
            XbrleError: polars is not installed.
        """
        return _module("polars").DataFrame(self)


def _module(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise XbrleError(f"{name} is not installed; install it with: pip install {name}") from error
