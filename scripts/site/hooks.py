"""Hooks of MkDocs: add the reference pages and the documents outside ``docs``, and turn links to them."""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

from scripts.site.reference import commands_page, python_page, settings_page

_ROOT = Path(__file__).parents[2]
_DOCUMENTS = {
    "DATA.md": "reference/data.md",
    "embeddings/README.md": "reference/stores.md",
    "embeddings/CLUSTER.md": "reference/cluster.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
_MADE = {"reference/cli.md": commands_page, "reference/settings.md": settings_page, "reference/python.md": python_page}
_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?:|mailto:|#)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, *, config: Any) -> Files:
    """Add the pages that are not in ``docs``."""
    for source, page in _DOCUMENTS.items():
        text = _turned((_ROOT / source).read_text("utf-8"), posixpath.dirname(source), page)
        files.append(File.generated(config, page, content=text))
    for page, make in _MADE.items():
        files.append(File.generated(config, page, content=make()))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, files: Files) -> str:
    """Turn links that are right in the repository into links that are right on the site."""
    name = page.file.src_uri
    if name in _DOCUMENTS.values() or name in _MADE:
        return markdown
    return _turned(markdown, posixpath.join("docs", posixpath.dirname(name)), name)


def _turned(text: str, folder: str, page: str) -> str:
    """Return the text with its links, which start at a folder of the repository, starting at a page of the site."""

    def turn(found: re.Match[str]) -> str:
        image, label, place, anchor = found[1], found[2], found[3], found[4] or ""
        target = posixpath.normpath(posixpath.join(folder, place))
        if not (_ROOT / target).exists():
            return found[0]  # MkDocs reports it
        if target in _DOCUMENTS:
            target = _DOCUMENTS[target]
        elif target.startswith("docs/"):
            target = target.removeprefix("docs/")
        else:  # a file of the repository, which the site does not have
            return label
        return f"{image}[{label}]({os.path.relpath(target, posixpath.dirname(page) or '.')}{anchor})"

    return _LINK.sub(turn, text)
