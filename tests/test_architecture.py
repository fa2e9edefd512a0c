"""What the shape of the package promises, read from the source: nothing is imported here."""

import ast
import os
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import ROOT

PACKAGE = "xbrletools"


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name. formats/ is a link, and counts."""
    found = {}
    for folder, _, names in os.walk(ROOT / PACKAGE, followlinks=True):
        for name in names:
            if name.endswith(".py"):
                path = Path(folder) / name
                parts = path.relative_to(ROOT).with_suffix("").parts
                found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(module: str, path: Path, known: set[str]) -> Iterator[str]:
    """The modules that one imports, wherever in it: at its top, inside a function, or for type checking only."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                up = node.level - (path.name == "__init__.py")
                base = ".".join([*parts[: len(parts) - up], *([base] if base else [])])
            for alias in node.names:
                name = f"{base}.{alias.name}"
                if name in known or base in known:
                    yield name if name in known else base


def cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The sets of nodes that reach each other, each in alphabetical order (Tarjan's algorithm)."""
    index: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    out = []

    def visit(node: str) -> None:
        index[node] = lowest[node] = len(index)
        stack.append(node)
        for other in sorted(graph[node]):
            if other not in index:
                visit(other)
                lowest[node] = min(lowest[node], lowest[other])
            elif other in stack:
                lowest[node] = min(lowest[node], index[other])
        if lowest[node] == index[node]:
            at = stack.index(node)
            together = sorted(stack[at:])
            del stack[at:]
            if len(together) > 1 or node in graph[node]:
                out.append(together)

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return out


def test_a_cycle_is_found() -> None:
    assert cycles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a", "d"}}) == [["b", "c"], ["d"]]
    assert cycles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_an_import_is_found_wherever_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "m.py"
    path.write_text(
        "import a.b\nfrom . import sibling\nfrom ..top import Name\n"
        "if TYPE_CHECKING:\n    from .typed import T\ndef f():\n    from .inside import g\n"
    )
    known = {"a.b", "p.q.sibling", "p.top", "p.q.typed", "p.q.inside"}
    assert set(imported("p.q.m", path, known)) == known


def test_no_modules_import_each_other_in_a_circle_even_for_types_or_inside_functions() -> None:
    found = modules()
    assert f"{PACKAGE}.formats.ram" in found
    graph = {name: set(imported(name, path, set(found))) for name, path in found.items()}
    assert f"{PACKAGE}.model" in graph[f"{PACKAGE}.capture"]
    assert cycles(graph) == []


def sources() -> list[Path]:
    """Every Python file that is shipped. formats/ is a link in the package."""
    return sorted(set(modules().values()))


def test_no_file_is_longer_than_500_lines() -> None:
    lengths = {p.relative_to(ROOT): len(p.read_text(encoding="utf-8").splitlines()) for p in sources()}
    assert {path: lines for path, lines in lengths.items() if lines > 500} == {}


def test_no_function_is_longer_than_60_lines() -> None:
    long = {}
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
                lines = node.end_lineno - node.lineno + 1
                if lines > 60:
                    long[f"{path.relative_to(ROOT)}:{node.name}"] = lines
    assert long == {}


PRINTING = {
    "xbrletools.cli.writer": "the one writer",
    "xbrletools.cli.output": "draws tables into memory, and hands their text to the writer",
    "xbrletools.__main__": "a constant, before anything is imported",
    "xbrletools.cli": "a constant, where a signal handler may only write and leave",
}
PRINTERS = {"print", "pprint", "echo", "secho", "echo_via_pager"}
STREAMS = {"stdout", "stderr", "__stdout__", "__stderr__"}
ASKED = {"isatty", "fileno", "reconfigure"}  # what does not print


def prints(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The lines on which something is printed, and how."""
    asked = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Attribute) and n.attr in ASKED}
    checked = {id(n.left) for n in ast.walk(tree) if isinstance(n, ast.Compare)}
    checked |= {id(v) for n in ast.walk(tree) if isinstance(n, ast.BoolOp) for v in n.values}
    checked |= {id(n.args[0]) for n in ast.walk(tree) if isinstance(n, ast.Call) and _named(n) == "isinstance"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = _named(node)
            descriptor = node.args[0] if node.args else None
            if name in PRINTERS or (
                name == "write"
                and ast.unparse(node.func) == "os.write"
                and isinstance(descriptor, ast.Constant)
                and descriptor.value in (1, 2)
            ):
                yield node.lineno, ast.unparse(node.func)
        elif isinstance(node, ast.Attribute) and node.attr in STREAMS and ast.unparse(node.value) == "sys":
            if id(node) not in asked | checked:
                yield node.lineno, ast.unparse(node)
        elif isinstance(node, ast.ImportFrom) and node.module == "sys":
            yield from ((node.lineno, a.name) for a in node.names if a.name in STREAMS)


def _named(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def test_every_way_to_print_is_found() -> None:
    bad = "print(1)\nclick.echo(x)\nsys.stdout.write(x)\nout = sys.stderr\nos.write(2, b)\nfrom sys import stdout\n"
    assert [line for line, _ in sorted(prints(ast.parse(bad)))] == [1, 2, 3, 4, 5, 6]
    good = "sys.stdout.isatty()\nif sys.stderr is None or not sys.stderr.isatty(): pass\nwrite(x)\nos.write(fd, b)\n"
    assert list(prints(ast.parse(good))) == []


def test_all_output_goes_through_the_writer_that_makes_text_inert() -> None:
    found = {}
    for module, path in modules().items():
        if module not in PRINTING:
            for line, how in prints(ast.parse(path.read_text(encoding="utf-8"))):
                found[f"{module}:{line}"] = how
    assert found == {}


def test_only_one_module_draws_with_rich() -> None:
    using = {m for m, p in modules().items() if "rich.console import Console" in p.read_text(encoding="utf-8")}
    assert using == {"xbrletools.cli.output"}


def test_distinct_values_are_sorted_not_counted_in_a_hash_table() -> None:
    bare = [
        f"{path.name}:{call.lineno}"
        for path in (ROOT / PACKAGE).rglob("*.py")
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "unique"
        if len(call.args) == 1 and not call.keywords
    ]
    assert not bare, "use arrays.distinct: numpy.unique alone takes four times as long and more"
