"""Text files of the user's."""

from __future__ import annotations

from pathlib import Path

from eno.errors import LabelError


def read_text(path: Path) -> str:
    """Read a text file of the user's.

    Raises
    ------
    LabelError
        It is missing or is not UTF-8.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise LabelError(f"{path}: cannot be read ({error.strerror}).") from error
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise LabelError(f"{path}: is UTF-16; save it as UTF-8.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise LabelError(f"{path}: line {line} is not UTF-8; save the file as UTF-8.") from error
