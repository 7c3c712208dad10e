"""Expectations without pytest, which also hold with ``python -O``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def expect(condition: Any, message: str) -> None:
    """Raise an AssertionError with a message unless a condition holds."""
    if not condition:
        raise AssertionError(message)


def expect_close(found: np.ndarray, expected: np.ndarray, tolerance: float, message: str) -> None:
    """Raise an AssertionError unless arrays have the same shape and values that differ by at most `tolerance`."""
    expect(found.shape == expected.shape, f"{message}: the shape is {found.shape}, expected {expected.shape}.")
    difference = float(np.abs(found - expected).max(initial=0))
    expect(difference <= tolerance, f"{message}: values differ by up to {difference:.3g}, allowed are {tolerance:.3g}.")


def expect_error(call: Callable[[], Any], error: type[Exception], message: str) -> None:
    """Raise an AssertionError unless a call raises this error."""
    try:
        call()
    except error:
        return
    except Exception as other:
        raise AssertionError(f"{message}: expected {error.__name__}, got {other!r}.") from other
    raise AssertionError(f"{message}: expected {error.__name__}, but no error was raised.")
