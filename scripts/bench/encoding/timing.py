"""Time of the fastest of several runs."""

from __future__ import annotations

import time
from collections.abc import Callable


def fastest(
    *works: Callable[[], object], least_s: float = 3.0, wait: Callable[[], object] = lambda: None
) -> list[float]:
    """Return the seconds of each work's fastest run, after one to warm up.

    Works take turns, so that a change of the machine's speed affects all of them alike.

    Parameters
    ----------
    least_s : float
        Runs go on until the first work has taken this long, but at least twice.
    wait : callable
        Called after each run, for example to wait for a GPU.
    """
    times: list[list[float]] = [[] for _ in works]
    while len(times[0]) < 3 or sum(times[0]) < least_s:
        for work, mine in zip(works, times, strict=True):
            began = time.perf_counter()
            work()
            wait()
            mine.append(time.perf_counter() - began)
    return [min(mine[1:]) for mine in times]
