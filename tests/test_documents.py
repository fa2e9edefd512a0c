"""The documents: links lead somewhere, README reads well where it stands alone, and the site builds."""

import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import ROOT
from xbrletools.cli import EXIT_FINDINGS, main

LINK = re.compile(r"\]\(([^)#\s]*)(?:#[^)]*)?\)")
CODE = re.compile(r"^( *)```.*?^\1```", re.MULTILINE | re.DOTALL)
PAGES = [
    *(ROOT / "docs").glob("*.md"),
    *(ROOT / n for n in ("CONTRIBUTING.md", "ARCHITECTURE.md", "samples/README.md")),
]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_link_leads_to_a_file_that_is_there(page: Path):
    links = LINK.findall(CODE.sub("", page.read_text("utf-8")))
    assert [link for link in links if link and "://" not in link and not (page.parent / link).exists()] == []


def test_readme_has_no_link_that_fails_where_only_readme_is_shown():
    links = LINK.findall((ROOT / "README.md").read_text("utf-8"))
    assert [link for link in links if not link.startswith("https://")] == []


def test_every_file_that_readme_names_is_there():
    named = re.findall(r"`((?:[\w/-]+/)?[\w-]+\.md)`", (ROOT / "README.md").read_text("utf-8"))
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).exists() and not (ROOT / "docs" / name).exists()] == []


def test_every_page_stands_in_the_site_s_contents():
    contents = (ROOT / "docs" / "site" / "mkdocs.yml").read_text("utf-8")
    assert [p.name for p in (ROOT / "docs").glob("*.md") if f": {p.name}" not in contents] == []


def test_the_pictures_of_the_concepts_are_as_they_are_drawn():
    drawn = runpy.run_path(str(ROOT / "docs" / "make_concepts.py"))["PICTURES"]
    lying = {p.stem: p.read_text("utf-8") for p in (ROOT / "docs" / "concepts").glob("*.svg")}
    assert lying == {name: draw() for name, draw in drawn.items()}, "run: python docs/make_concepts.py"


#: Commands in documents that wait for others, need a running QEMU, or have tests of their own.
ELSEWHERE = re.compile(r"xbrle (capture|tui|describe|check|vectors|samples|grammars)\b")


#: What commands need that an extra brings. Where it is missing, other tests say so.
NEEDS = {"yara": "yara_x", "tables": "pyarrow", "query": "duckdb"}


def commands(page: str) -> list[str]:
    """The commands in a document's blocks of code, each to the end of its line or to a pipe or a comment."""
    blocks = "\n".join(m[0] for m in CODE.finditer((ROOT / page).read_text("utf-8")))
    found = re.findall(r"^(?:\$ )?(xbrle [^|#\n]*)", blocks, re.MULTILINE)
    return [line.strip() for line in found if not ELSEWHERE.match(line)]


@pytest.mark.parametrize("page", ["README.md", "docs/recipes.md"])
def test_the_commands_of_a_page_run_on_the_samples(page: str, monkeypatch, tmp_path: Path, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "samples").symlink_to(ROOT / "samples")
    lines = commands(page)
    assert len(lines) >= 3
    lines = [line for line in lines if find_spec(NEEDS.get(line.split()[1], "xbrletools"))]
    for line in lines:
        words = ["samples/xbzrle-16m.bin" if word == "S" else word for word in shlex.split(line)[1:]]
        assert main(words) in (0, EXIT_FINDINGS), (line, capsys.readouterr().err)


def built(root: Path, out: Path) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "-f",
        root / "docs/site/mkdocs.yml",
        "-d",
        out,
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("broken", [False, True], ids=["as it is", "with a broken link"])
def test_the_site_builds_unless_a_link_is_broken(broken: bool, tmp_path: Path):
    for module in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(module, reason="the extra docs is not installed")
    root = tmp_path / "root"
    for name in ("docs", "formats", "samples", "xbrletools"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("*.bin*", "__pycache__"))
    for name in ("ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        shutil.copy(ROOT / name, root / name)
    if broken:
        with (root / "docs" / "faq.md").open("a", encoding="utf-8") as page:
            page.write("\n[nowhere](nowhere.md)\n")
    done = built(root, tmp_path / "site")
    assert (done.returncode != 0) == broken, done.stderr
    if not broken:
        tutorial = (tmp_path / "site" / "tutorial.html").read_text("utf-8")
        assert "stale-base.bin" in tutorial
        assert not re.search(r'<(?:script|link|img)[^>]+(?:src|href)="https?://', tutorial), "it loads from other hosts"


def test_the_extra_for_the_site_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert {"mkdocs", "mkdocs-material"} <= {
        re.split(r"[>=<\[]", d)[0] for d in project["optional-dependencies"]["docs"]
    }
