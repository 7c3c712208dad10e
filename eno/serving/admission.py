"""How much may wait: beyond it, clients are told to come again."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from eno.serving.errors import Problem

_SMOOTHING = 0.2


class Admission:
    """Counts requests that need the model. Used by the event loop's thread only.

    Parameters
    ----------
    most : int
        So many are taken in, whether they wait, send their files or are worked on.
    on_change : callable, optional
        Takes how many there are.

    Attributes
    ----------
    inside : int
        How many there are now.
    """

    def __init__(self, most: int, *, on_change: Callable[[int], None] = lambda waiting: None) -> None:
        self._most, self._on_change = most, on_change
        self.inside, self._mean_s = 0, 1.0

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Take a request in.

        Raises
        ------
        Problem
            There are too many: 503, with Retry-After.
        """
        if self.inside >= self._most:
            wait_s = max(1, min(60, math.ceil(self._mean_s / 2)))
            raise Problem(
                503,
                f"{self.inside} requests are being worked on; no more are taken. Try again in {wait_s} s.",
                headers={"Retry-After": str(wait_s)},
            )
        self.inside += 1
        self._on_change(self.inside)
        began = time.monotonic()
        try:
            yield
        finally:
            self._mean_s += _SMOOTHING * (time.monotonic() - began - self._mean_s)
            self.inside -= 1
            self._on_change(self.inside)
