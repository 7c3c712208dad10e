"""How ``write-tags`` shows what becomes of each file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from eno.cli.options import print_json, shown
from eno.console import console
from eno.errors import AudioError

if TYPE_CHECKING:
    from eno.tagfiles.edits import TagEdit

_REASONS = {"unfamiliar": "[yellow]unfamiliar[/]", "section": "[dim]a section of a file[/]"}


def show_edit(edit: TagEdit, *, written: bool, as_json: bool) -> None:
    """Show what was written, or would be, to a file."""
    if as_json:
        values = {"before": edit.before, "after": edit.after, "kept": edit.kept}
        print_json({"track_id": str(edit.path), **values, "written": written and bool(edit.after)})
        return
    console.print(f"[bold]{shown(edit.path)}[/]")
    for name, after in edit.after.items():
        before = edit.before[name]
        signs = [f"[red]- {shown(one)}[/]" for one in before if one not in after]
        signs += [shown(one) if one in before else f"[green]+ {shown(one)}[/]" for one in after]
        console.print(f"  {name:<6} {', '.join(signs)}")
    for name, kept in edit.kept.items():
        present = shown(", ".join(kept))
        console.print(f"  [dim]{name:<6} {present} (kept; --existing merge or replace would change it)[/]")
    for name, remaining in edit.remaining.items():
        console.print(
            f"  [dim]{name:<6} {shown(', '.join(remaining))} remains in tags that eno does not write, as RIFF INFO[/]"
        )
    if not edit.after and not edit.kept:
        console.print("  [dim]nothing to write[/]")


def show_left_out(path: Path, reason: Literal["unfamiliar", "section"], *, as_json: bool) -> None:
    """Show that a file is left out, and why."""
    if as_json:
        unchanged: dict[str, Any] = {"before": {}, "after": {}, "kept": {}, "written": False}
        print_json({"track_id": str(path), **unchanged, reason: True})
    else:
        console.print(f"[bold]{shown(path)}[/]\n  {_REASONS[reason]}, nothing to write")


def show_error(path: Path, error: AudioError, *, as_json: bool) -> None:
    """Show why a file failed."""
    if as_json:
        print_json({"track_id": str(path), "error": error.reason})
    else:
        console.print(f"[bold]{shown(path)}[/]\n  [red]error[/] {shown(error.reason)}")
