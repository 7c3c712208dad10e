"""Hierarchies and aliases of labels, read from the user's files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from eno.data.names import clean_label, label_key
from eno.errors import LabelError
from eno.files import csv_rows, read_lines

_NOTE = re.compile(r"\s*::\w+\s*$")  # "Shoegaze ::genre", as some lists have it
_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_HEADERS = {"child", "genre", "label", "name", "alias"}


class Hierarchy:
    """A directed acyclic graph of labels, built from pairs of child and parent.

    Names are compared by `eno.data.names.label_key`; the first spelling is displayed. A cycle raises a `LabelError`.

    Examples
    --------
    >>> hierarchy = Hierarchy([("Shoegaze", "Dream Pop"), ("Dream Pop", "Pop"), ("Shoegaze", "Noise")])
    >>> hierarchy.ancestors("shoegaze")
    ['Dream Pop', 'Noise', 'Pop']
    """

    def __init__(self, edges: Iterable[tuple[str, str]]) -> None:
        self._spelling: dict[str, str] = {}
        self._parents: dict[str, list[str]] = {}
        for child, parent in edges:
            child_key, parent_key = label_key(child), label_key(parent)
            self._spelling.setdefault(child_key, child)
            self._spelling.setdefault(parent_key, parent)
            self._parents.setdefault(parent_key, [])
            if parent_key not in self._parents.setdefault(child_key, []):
                self._parents[child_key].append(parent_key)
        self._ancestors: dict[str, frozenset[str]] = {}
        try:
            for key in TopologicalSorter(self._parents).static_order():
                parents = self._parents[key]
                self._ancestors[key] = frozenset(parents).union(*(self._ancestors[parent] for parent in parents))
        except CycleError as error:
            cycle = " → ".join(self._spelling[key] for key in error.args[1])
            raise LabelError(f"The hierarchy contains a cycle: {cycle}. Remove one of these lines.") from error

    def __len__(self) -> int:
        return len(self._parents)

    def parents(self, name: str) -> list[str]:
        """Return the direct parents of a label, in the order of the file."""
        return [self._spelling[key] for key in self._parents.get(label_key(name), ())]

    def ancestors(self, name: str) -> list[str]:
        """Return all ancestors of a label, sorted."""
        return sorted(self._spelling[key] for key in self._ancestors.get(label_key(name), ()))

    def implied(self, labels: Iterable[str]) -> dict[str, list[str]]:
        """Map every name in the hierarchy to those of its ancestors that are among `labels`, if there are any."""
        spelled = {label_key(label): label for label in labels}
        ancestors = {name: map(label_key, self.ancestors(name)) for name in self._spelling.values()}
        found = {name: [spelled[key] for key in keys if key in spelled] for name, keys in ancestors.items()}
        return {name: implied for name, implied in found.items() if implied}

    def roots(self) -> list[str]:
        """Return the labels without parents, in the order of the file."""
        return [self._spelling[key] for key, parents in self._parents.items() if not parents]

    @classmethod
    def load(cls, path: Path | str) -> Hierarchy:
        """Read ``.csv`` or ``.tsv`` with the columns child and parent, or text with children indented below parents.

        A header is optional. In text, a label may occur below several parents; empty lines, lines that begin with
        ``#``, and notes such as ``::genre`` at the end of a line are ignored.
        """
        path = Path(path)
        edges = list((_pairs if path.suffix.lower() in _SEPARATORS else _indented)(path))
        try:
            return cls(edges)
        except LabelError as error:
            raise LabelError(f"{path}: {error}") from error


def load_aliases(path: Path | str) -> dict[str, str]:
    """Read ``.csv`` or ``.tsv`` with the columns alias and label, header optional. Chains of aliases are resolved."""
    path = Path(path)
    direct = {label_key(alias): label for alias, label in _pairs(path)}
    resolved = {}
    for alias in direct:
        seen = [alias]
        while (following := label_key(direct[seen[-1]])) in direct:
            if following in seen:
                raise LabelError(f"{path}: the alias {alias!r} leads back to itself. Remove one of its lines.")
            seen.append(following)
        resolved[alias] = direct[seen[-1]]
    return resolved


def _pairs(path: Path) -> Iterator[tuple[str, str]]:
    separator = _SEPARATORS.get(path.suffix.lower(), ",")
    first = True
    for line, row in csv_rows(path, LabelError, separators=separator):
        cells = [clean_label(cell) for cell in row]
        if not any(cells) or cells[0].startswith("#"):
            continue
        if len(cells) != 2 or not all(cells):
            raise LabelError(f"{path}: line {line}: expected two columns, found {row}.")
        if not (first and cells[0].lower() in _HEADERS):
            yield cells[0], cells[1]
        first = False


def _indented(path: Path) -> Iterator[tuple[str, str]]:
    above: list[tuple[int, str]] = []  # the open branches, outermost first
    for number, line in enumerate(read_lines(path, LabelError), 1):
        name = clean_label(_NOTE.sub("", line))
        if not name or name.startswith("#"):
            continue
        depth = len(line) - len(line.lstrip())
        closed = 0
        while above and above[-1][0] > depth:
            above.pop()
            closed += 1
        if above and above[-1][0] == depth:
            above.pop()
        elif closed:
            raise LabelError(
                f"{path}: line {number}: {name!r} is indented by {depth}, which matches no line above it. "
                "Indent all children of a label equally."
            )
        if above:
            yield name, above[-1][1]
        above.append((depth, name))
