"""The heads, one per module; this module creates them by name, and loads them from their folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

from eno.errors import ModelError, check_format
from eno.models.types import Head
from eno.registry import HEADS, check_options, find_class

HEAD_FILE = "head.json"
"""Names the head in its folder, and holds its options."""

FORMAT = 3
"""Of `HEAD_FILE`. Files of the first format, by eno 0.1, have no number; not all of them have a shape."""


def create_head(name: str, **options: Any) -> Head:
    """Create a head by its name in `HEADS`, with the options that its class documents.

    For `device` see `eno.devices.resolve_device`.

    Raises
    ------
    UnknownName
        There is no such head.
    ConfigError
        An option is unknown or missing.
    """
    head_class = find_class("head", name, HEADS)
    check_options("head", name, head_class, options)
    return cast(Head, head_class(**options))


def load_head(folder: Path | str, *, device: str = "auto") -> Head:
    """Load a saved head of any kind onto `device` (see `eno.devices.resolve_device`).

    Raises
    ------
    ModelError
        The folder has no head, or it is damaged, or from a newer version of eno.
    UnknownName
        This version of eno has no such head.
    """
    return cast(Head, find_class("head", read_head_file(Path(folder))["head"], HEADS).load(folder, device=device))


def read_head_file(folder: Path) -> dict[str, Any]:
    """Read ``head.json``; raises a ModelError if it is missing, damaged, or from a newer version of eno."""
    path = folder / HEAD_FILE
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        str(content["head"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: is not a saved head ({error!r}). 'eno train' makes one.") from error
    check_format(path, content.get("format", 1), FORMAT, ModelError)
    return content
