"""Names of the fields of audio files that tags are written to."""

from __future__ import annotations

import re

from eno.errors import LabelError

FIELDS = ("genre", "mood", "style")
"""The fields for genres and descriptors. Those for other families may be ``grouping`` or any others."""

_NAME = re.compile(r"[a-z][a-z0-9 _-]{1,49}")
# They say which recording a file is, or are names of blocks of tags.
_NOT_FOR_TAGS = {
    "title", "artist", "artists", "album", "albumartist", "album artist", "album_artist", "track", "tracknumber",
    "disc", "discnumber", "date", "year", "originaldate", "originalyear", "composer", "performer", "conductor",
    "lyrics", "isrc", "barcode", "catalognumber", "compilation", "encoder", "id3", "tag", "oggs",
}  # fmt: skip


def field_name(text: str) -> str:
    """Check the name of a field, and return it in lower case.

    Raises
    ------
    LabelError
        The name would be invalid in some format of tags, or the field says which recording the file is.

    Examples
    --------
    >>> field_name("INSTRUMENTS")
    'instruments'
    """
    name = text.strip().lower()
    if not _NAME.fullmatch(name):
        problem = "expected 2 to 50 letters, digits, spaces, _ or -, the first a letter"
    elif name in _NOT_FOR_TAGS:
        problem = "it has another meaning. Choose another, such as grouping or a name of your own"
    else:
        return name
    raise LabelError(f"{text!r} is no field for tags: {problem}.")
