"""Names of labels in a form that can be compared."""

from __future__ import annotations

import unicodedata


def clean_label(text: str) -> str:
    """Tidy a genre or descriptor for display: composed Unicode, single spaces."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def label_key(text: str) -> str:
    """Reduce a genre or descriptor to what is the same in all its spellings: case, width and spaces do not matter.

    Examples
    --------
    >>> label_key("  Dream\u3000POP ")
    'dream pop'
    """
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
