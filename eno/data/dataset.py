"""The guide imports the dataset of the CNN from here; the code is in `eno.cnn.dataset`."""

from __future__ import annotations

import importlib
from typing import Any


def __getattr__(name: str) -> Any:
    # Looked up when it is asked for, because this package is below the CNN's.
    return getattr(importlib.import_module("eno.cnn.dataset"), name)
