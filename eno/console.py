"""Consoles for results and errors, and progress bars."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

console = Console(highlight=False, soft_wrap=True)
"""Results."""
errors = Console(highlight=False, soft_wrap=True, stderr=True)
"""Progress and errors, so that results can be piped."""

_PLAIN_LINES, _PLAIN_S = 10, 30.0


@contextmanager
def progress(label: str) -> Iterator[Callable[..., None]]:
    """Show the progress of a job: a bar on a terminal, elsewhere a line for every tenth and at least every 30 s.

    Yields a function to call with the number done, the total and an optional note.
    """
    if not errors.is_terminal:
        yield _plain(label)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    bar = Progress(*columns, TimeRemainingColumn(), TextColumn("{task.fields[note]}"), console=errors)
    task = bar.add_task(label, total=None, note="")

    def update(done: int, total: int, note: str = "") -> None:
        bar.start()  # not before, so that a job without steps shows nothing
        bar.update(task, completed=done, total=total, note=note)

    try:
        yield update
    finally:
        bar.stop()


def _plain(label: str) -> Callable[..., None]:
    before, shown, last = 0, 0, time.monotonic()

    def update(done: int, total: int, note: str = "") -> None:
        nonlocal before, shown, last
        if done <= before:  # the next stage of the same job has begun
            shown = 0
        before = done
        tenth = done * _PLAIN_LINES // max(1, total)
        if tenth > shown or time.monotonic() - last > _PLAIN_S:
            shown, last = tenth, time.monotonic()
            errors.print(f"{label}: {done} of {total}{f', {note}' if note else ''}")

    return update
