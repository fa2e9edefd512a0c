"""The lines of a tree of fields, of which some are folded. A line is found without going through those before it.

A section can have a hundred thousand fields, and a list of them is opened at once.
"""

from bisect import bisect_right, insort
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from dataclasses import field as stored

from ..container.fields import Field

#: The way from the root to a field: the place of a child, at each level.
FieldPath = tuple[int, ...]

SHORT = 16  # fields of a list up to which it is open at first, unless it lies in a longer one
OPEN_MAX = 512  # lists that are open at first


@dataclass(slots=True, eq=False)
class _Branch:
    """A field whose parts are shown. ``count`` is how many lines there are below it, ``places`` those of open parts."""

    field: Field
    count: int
    parts: dict[int, "_Branch"] = stored(default_factory=dict)
    places: list[int] = stored(default_factory=list)


@dataclass(frozen=True, slots=True)
class FieldRow:
    """One line: a field, how deep it lies, and whether it is open, None for one without parts."""

    path: FieldPath
    field: Field
    is_open: bool | None

    @property
    def depth(self) -> int:
        """How many fields it lies in, beside the root."""
        return len(self.path) - 1


class FieldRows:
    """The lines below ``root``, or its own where it does not have parts. Those called as in ``folded`` begin folded."""

    def __init__(self, root: Field, folded: Collection[str] = ()) -> None:
        self.root = root if root.children else Field("", root.offset, root.size, None, b"", (root,))
        self._top = _Branch(self.root, len(self.root.children))
        self._open_short((), self._top, folded, [OPEN_MAX])

    def _open_short(self, path: FieldPath, branch: _Branch, folded: Collection[str], left: list[int]) -> None:
        """Open the short lists in a short one."""
        if len(branch.field.children) > SHORT:
            return
        for place, child in enumerate(branch.field.children):
            if 0 < len(child.children) <= SHORT and child.name not in folded and left[0] > 0:
                left[0] -= 1
                self._turn((*path, place))
                self._open_short((*path, place), branch.parts[place], folded, left)

    def __len__(self) -> int:
        return self._top.count

    def at(self, row: int) -> FieldRow:
        """One line."""
        branch, path, left = self._top, list[int](), row
        while True:
            before = 0  # lines of open parts before the wanted one
            inner = None
            for place in branch.places:
                if left <= place + before:
                    break
                part = branch.parts[place]
                if left - place - before <= part.count:
                    inner = place
                    break
                before += part.count
            if inner is None:
                place = left - before
                child = branch.field.children[place]
                return FieldRow((*path, place), child, place in branch.parts if child.children else None)
            path.append(inner)
            left -= inner + before + 1
            branch = branch.parts[inner]

    def turn(self, row: int) -> None:
        """Fold or unfold a field. One without parts stays as it is."""
        line = self.at(row)
        if line.is_open is not None:
            self._turn(line.path)

    def _turn(self, path: FieldPath) -> None:
        branches = [self._top]
        for place in path[:-1]:
            branches.append(branches[-1].parts[place])
        branch, place = branches[-1], path[-1]
        if place in branch.parts:
            change = -branch.parts.pop(place).count
            branch.places.remove(place)
        else:
            child = branch.field.children[place]
            branch.parts[place] = _Branch(child, len(child.children))
            insort(branch.places, place)
            change = len(child.children)
        for one in branches:
            one.count += change

    def show(self, path: FieldPath) -> int:
        """Open all that a field lies in. Gives its line."""
        branch, row = self._top, -1
        for depth, place in enumerate(path):
            if depth:
                if path[depth - 1] not in branch.parts:
                    self._turn(path[:depth])
                branch = branch.parts[path[depth - 1]]
            row += (
                1 + place + sum(branch.parts[p].count for p in branch.places[: bisect_right(branch.places, place - 1)])
            )
        return row

    def holding(self, offset: int) -> FieldPath | None:
        """The smallest field that is not folded away and holds the byte at a file offset, None where none does."""
        branch: _Branch | None = self._top
        path = list[int]()
        while branch is not None:
            children = branch.field.children
            place = bisect_right(children, offset, key=lambda f: f.offset) - 1
            while place > 0 and not children[place].size:  # what is wrong stands in no byte
                place -= 1
            if place < 0 or not children[place].offset <= offset < children[place].offset + children[place].size:
                break
            path.append(place)
            branch = branch.parts.get(place)
        return tuple(path) or None


def walk(root: Field, path: FieldPath = ()) -> Iterator[tuple[FieldPath, Field]]:
    """All fields below one, folded or not, each with its path."""
    for place, child in enumerate(root.children):
        yield (*path, place), child
        if child.children:
            yield from walk(child, (*path, place))


def leaf_count(root: Field) -> int:
    """How many fields without parts lie in one."""
    return sum(leaf_count(child) if child.children else 1 for child in root.children)


def name_of(root: Field, path: FieldPath) -> str:
    """The names on the way to a field, as differences between devices write them: ``a.b[0].c``."""
    name = ""
    for place in path:
        root = root.children[place]
        name = f"{name}.{root.name}" if name and not root.name.startswith("[") else name + root.name
    return name
