"""The one error that a caller sees for bad input."""


class XbrleError(Exception):
    """Something in the input cannot be read as what it should be.

    ``offset`` is the place of that in the capture, in bytes, or None if it does not have one place.
    """

    def __init__(self, message: str, offset: int | None = None) -> None:
        super().__init__(message if offset is None else f"{message} (at offset {offset:#x})")
        self.offset = offset
