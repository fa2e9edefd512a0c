"""What a decoder says of input that is damaged or ends early, with the place of it."""

from .ahead import Ahead


class PackedDamage(Exception):  # noqa: N818 - not an error: what was unpacked before it counts
    """A packed file is damaged, or ends early. What it gave before stands.

    ``place`` is the offset in the packed file of the first byte that could not be used. ``why`` is what is wrong there.
    It is empty where the file ends. ``before`` says what the format leaves unchecked of the content before that place.
    """

    def __init__(self, place: int, why: str = "", before: str = "") -> None:
        super().__init__(why)
        self.place = place
        self.why = why
        self.before = before

    def said(self, wrapper: str, content: int) -> str:
        """It in one sentence. ``content`` is how many bytes came out."""
        places = f"at its offset {self.place:#x}, {content:#x} of the content"
        if not self.why:
            return f"{wrapper} ends early, {places}"
        return f"{wrapper} is damaged {places}: {self.why}" + (f"; {self.before}" if self.before else "")


def begins(raw: Ahead, magic: bytes, what: str) -> None:
    """Look whether ``magic`` stands next, as far as the file goes.

    Raises:
        PackedDamage: other bytes stand there, so that no ``what`` begins.
    """
    if not magic.startswith(raw.head(len(magic))):
        raise PackedDamage(raw.at, f"no {what} begins here")
