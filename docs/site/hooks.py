"""Puts pages from outside docs/ into the site, at the same places below its root, and adapts the links to them."""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
OUTSIDE = ("formats/README.md", "samples/README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")


def on_files(files: Files, *, config: Any) -> Files:
    """Add the pages, as MkDocs calls it once its own are found."""
    for name in OUTSIDE:
        files.append(File.generated(config, name, abs_src_path=str(ROOT / name)))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Make links from docs/ to the pages outside, and the way back, fit the site: docs/ is its root."""
    markdown = re.sub(r"(\[[A-Z]\])(?=\[[A-Z]\])", r"\1\\", markdown)  # marks of sources, [P][C], are not a link
    if page.file.src_uri in OUTSIDE:
        return re.sub(r"\]\((?:\.\./)?docs/", "](../" if "/" in page.file.src_uri else "](", markdown)
    return markdown.replace("](../", "](")
