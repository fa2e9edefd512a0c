"""The one family of errors that a caller sees for bad input."""


class XbrleError(Exception):
    """Something in the input cannot be read as what it should be.

    ``offset`` is the byte in the capture where that shows, or None where there is no such byte.
    """

    def __init__(self, message: str, offset: int | None = None) -> None:
        super().__init__(message if offset is None else f"{message} (at offset {offset:#x})")
        self.offset = offset
