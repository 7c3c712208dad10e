"""The guide imports the CNN from here; its code is in `eno.cnn.network`."""

from __future__ import annotations

import importlib
from typing import Any


def __getattr__(name: str) -> Any:
    # Looked up when it is asked for, because this package is below the CNN's.
    return getattr(importlib.import_module("eno.cnn.network"), name)
