"""What a scan believes: the questions that its readers ask. A plain scan and salvage answer them each in their way."""

from typing import Protocol

from ..formats.qevm import SectionType
from ..ram.walk import Pending
from ..table.sections import Owner
from .buffer import Buffer


class Judge(Protocol):
    """The answers of one way to scan. Where the answer is no, a method raises `Stop`."""

    def section_type(self, buffer: Buffer, at: int, kind: SectionType) -> None:
        """May a part of this type begin at ``at``, whatever it holds?"""

    def section(self, at: int, kind: SectionType, owner: Owner) -> None:
        """May this owner's START or FULL section begin at ``at``?"""

    def unannounced(self, at: int, number: int, word: int | None) -> Owner:
        """Whose is the section at ``at``, when no START announced its id? Its data begins with ``word``."""

    def word(self, at: int, word: int) -> None:
        """May this word begin a record at ``at``? It is asked once the page size is known."""

    def may_try_page_size(self, pending: Pending, base: int) -> bool:
        """May the next record show the page size? ``pending`` were walked over before it, in a window at ``base``."""

    def block_list(self, at: int, total: int) -> None:
        """May the list that was just read at ``at`` stand there? Its word says ``total`` bytes."""

    def block_name(self, at: int, name: bytes) -> None:
        """May the record at ``at`` name this block?"""
