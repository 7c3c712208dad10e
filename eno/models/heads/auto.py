"""The default head: a blend of the heads that are likely to win, within a time budget."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from eno.models.base import BaseHead, part_of
from eno.models.folds import OutOfFold
from eno.models.heads.blend import BlendHead
from eno.models.types import Positive

_FORESEEABLE = 0.1  # of the steps, after which the time that a head needs is estimated


class AutoHead(BlendHead):
    """A blend of heads that are fitted in turn within a time budget.

    Parameters
    ----------
    budget : float
        Seconds. A head that would exceed it, as estimated from its progress, is given up, and the next one is tried.
        The first head is always fitted.
    heads : sequence of str
        Names of heads, in the order in which they are tried.
    options, seed
        See `eno.models.heads.blend.BlendHead`.

    Attributes
    ----------
    members, weights, scores
        See `eno.models.heads.blend.BlendHead`.
    given_up : dict of str to float
        By name of the heads that were given up, the seconds that each of them would have taken; None if no time was
        left to try it.

    Notes
    -----
    Which heads are fitted depends on the speed of the machine. To repeat a training exactly, use `BlendHead` with the
    heads in `scores`.
    """

    name = "auto"

    def __init__(
        self,
        *,
        budget: Positive = 120.0,
        heads: Sequence[str] = ("linear", "knn", "forest", "kernel", "mlp"),
        options: Mapping[str, Mapping[str, Any]] | None = None,
        seed: int = 0,
        device: str = "auto",
    ) -> None:
        super().__init__(heads=heads, options=options, seed=seed, device=device)
        self.budget = budget
        self.given_up: dict[str, float | None] = {}

    def _fit_members(self, fit: Callable[[BaseHead], OutOfFold]) -> OutOfFold:
        members: list[Any] = []
        found: list[OutOfFold] = []
        candidates, began, self.given_up = self._create_members(), time.monotonic(), {}
        for number, member in enumerate(candidates):
            report = part_of(self.on_progress, number, len(candidates))
            if members and time.monotonic() >= began + self.budget:
                self.given_up[member.name] = None
                continue
            member.on_progress = _Timer(began + self.budget, report).check if members else report
            if self.on_epoch is not None and hasattr(member, "on_epoch"):
                member.on_epoch = self.on_epoch
            try:
                found.append(fit(member))
                members.append(member)
            except _TooLongError as error:
                self.given_up[member.name] = round(error.seconds, 1)
        self.members = members
        return self._weigh(found)

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        content, arrays = super()._state()
        return content | {"given_up": self.given_up}, arrays

    def _restore(self, content: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        super()._restore(content, arrays)
        self.given_up = content["given_up"]


class _TooLongError(Exception):
    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class _Timer:
    """Reports progress, and raises `_TooLongError` when a deadline will not be met."""

    def __init__(self, deadline: float, report: Callable[[int, int], None]) -> None:
        self._began, self._deadline, self._report = time.monotonic(), deadline, report

    def check(self, done: int, of: int) -> None:
        now, share = time.monotonic(), done / max(of, 1)
        seconds = (now - self._began) / share if share >= _FORESEEABLE else now - self._began
        if max(self._began + seconds, now) > self._deadline:
            raise _TooLongError(seconds)
        self._report(done, of)
