"""Consoles for results and errors, and progress bars."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.segment import Segment

from eno.files import visible


class SafeConsole(Console):
    """A console that makes control characters of what it prints visible; only its own styles are control sequences."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render without control characters, and in letters that the terminal's encoding has."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
                continue
            text = "\n".join(map(visible, segment.text.split("\n")))
            yield Segment(text.encode(self.encoding, "backslashreplace").decode(self.encoding), segment.style)


# Words between colons in names are no emoji.
console = SafeConsole(highlight=False, soft_wrap=True, emoji=False)
"""Results."""
errors = SafeConsole(highlight=False, soft_wrap=True, emoji=False, stderr=True)
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
        bar.update(task, completed=done, total=total, note=escape(visible(note)))

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
            errors.print(f"{label}: {done} of {total}{f', {escape(visible(note))}' if note else ''}")

    return update
