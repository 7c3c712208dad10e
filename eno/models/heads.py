"""Heads by name: created, and read back from their folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from eno.errors import ModelError
from eno.models.types import Head
from eno.registry import HEADS, check_options, find_class

HEAD_FILE = "head.json"
"""Names the head in its folder, and holds its options."""

FORMAT = 2
"""Of `HEAD_FILE`. Files of the first format, by eno 0.1, have no number; not all of them have a shape."""


def create_head(name: str, **options: Any) -> Head:
    """Create a head by name.

    Parameters
    ----------
    name : str
        One of `HEADS`.
    **options
        Options of that head; its class documents them.

    Raises
    ------
    UnknownName
        There is no such head.
    ConfigError
        The head has no such option.
    """
    head_class = find_class("head", name, HEADS)
    check_options("head", name, head_class, options)
    return cast(Head, head_class(**options))


def load_head(folder: Path | str, *, device: str = "auto") -> Head:
    """Load a fitted head of any kind from its folder, to compute on `device` (see `eno.devices.resolve_device`).

    Raises
    ------
    ModelError
        The folder holds no head, or it is damaged, or a newer version of eno wrote it.
    UnknownName
        This version of eno has no such head.
    """
    return cast(Head, find_class("head", read_head_file(Path(folder))["head"], HEADS).load(folder, device=device))


def read_head_file(folder: Path) -> dict[str, Any]:
    """Read ``head.json``.

    Raises
    ------
    ModelError
        It is missing or damaged, or a newer version of eno wrote it.
    """
    path = folder / HEAD_FILE
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        str(content["head"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: is not a saved head ({error!r}). 'eno train' makes one.") from error
    check_format(path, content.get("format", 1), FORMAT)
    return content


def check_format(path: Path, found: Any, supported: int) -> None:
    """Raise ModelError if a newer version of eno wrote a file."""
    if not isinstance(found, int) or found > supported:
        raise ModelError(
            f"{path}: has format {found!r}; this version of eno reads up to format {supported}. "
            "A newer version wrote it: upgrade eno."
        )
