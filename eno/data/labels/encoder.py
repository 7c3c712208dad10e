"""Labels as multi-hot vectors."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import sparse

from eno.data.families import DESCRIPTOR, GENRE, HEADINGS, family_entries, family_name, heading
from eno.data.labels.columns import as_list_array, has_names, label_columns
from eno.data.labels.values import PRESENT, value_entries, without_values
from eno.data.lute.albums import ALBUM_SCHEMA, FAMILY_LABELS, LABEL_COLUMNS
from eno.data.names import label_key
from eno.errors import LabelError, check_format
from eno.files import write_json

_Lists: TypeAlias = Any  # a list array of pyarrow, which has no types for mypy, or Sequence[Iterable[str] | None]
_FORMAT, _FORMAT_WITH_OTHERS = 1, 2  # of files; earlier versions would ignore labels of other families
_LABELS = pa.schema([*(ALBUM_SCHEMA.field(name) for name in LABEL_COLUMNS), FAMILY_LABELS])


class LabelEncoder:
    """Encode genres, descriptors and labels of any other families as multi-hot vectors, and decode them.

    A vector has all genres, primary or secondary, then all descriptors, then the labels of each other family; families
    and labels are sorted by name. Names are compared by `eno.data.names.label_key`, so ignoring case and spelling
    variants that look alike.

    Parameters
    ----------
    others : mapping of str to iterable of str, optional
        The labels of other families, such as ``{"instruments": ["cello", "organ"]}``.
    secondary_weight : float
        Value of a secondary genre, from 0.5 to 1; primary ones are 1. Labels below 0.5 would count as absent.
    aliases : mapping of str to str, optional
        Alternative names of labels.
    implied : mapping of str to sequence of str, optional
        Further labels that a name sets, such as the ancestors of a genre. The name need not be a label itself.

    Examples
    --------
    >>> encoder = LabelEncoder(["shoegaze", "dream pop"], ["melancholic"])
    >>> encoder.encode(["Shoegaze"], [], ["melancholic"])
    array([0., 1., 1.], dtype=float32)
    >>> encoder.decode(np.array([0.1, 0.9, 0.4]))
    {'genres': ['shoegaze'], 'descriptors': []}

    >>> encoder = LabelEncoder(["shoegaze"], [], others={"instruments": ["guitar", "organ"]})
    >>> encoder.encode(["shoegaze"], [], [], {"instruments": ["organ"]})
    array([1., 0., 1.], dtype=float32)
    """

    def __init__(
        self,
        genres: Iterable[str],
        descriptors: Iterable[str],
        *,
        others: Mapping[str, Iterable[str]] | None = None,
        secondary_weight: float = 1.0,
        aliases: Mapping[str, str] | None = None,
        implied: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        if not PRESENT <= secondary_weight <= 1:
            raise LabelError(f"secondary_weight is {secondary_weight}; it must be from {PRESENT} to 1.")
        self.genres = sorted(set(genres))
        self.descriptors = sorted(set(descriptors))
        named = {family_name(family): sorted(set(names)) for family, names in (others or {}).items()}
        if fixed := sorted(named.keys() & HEADINGS.keys()):
            raise LabelError(f"{heading(fixed[0])} are no other family; pass them as {heading(fixed[0])}.")
        self.others = {family: named[family] for family in sorted(named) if named[family]}
        self.by_family = {GENRE: self.genres, DESCRIPTOR: self.descriptors, **self.others}
        self.secondary_weight = float(secondary_weight)
        self.aliases = dict(aliases or {})
        self.implied = {name: list(labels) for name, labels in (implied or {}).items()}
        self.genre_to_idx = {name: i for i, name in enumerate(self.genres)}
        self.desc_to_idx = {name: i for i, name in enumerate(self.descriptors)}
        self.num_genres = len(self.genres)
        self.num_descriptors = len(self.descriptors)
        self.num_labels = sum(map(len, self.by_family.values()))
        self._columns: dict[str, dict[str, tuple[int, ...]]] = {}
        offset = 0
        for family, names in self.by_family.items():
            self._columns[family] = self._columns_of_names(names, offset)
            offset += len(names)

    def _columns_of_names(self, labels: list[str], offset: int) -> dict[str, tuple[int, ...]]:
        """Map the key of every known name to the columns that it sets."""
        columns: dict[str, set[int]] = {}
        for i, label in enumerate(labels, offset):
            columns.setdefault(label_key(label), set()).add(i)  # earlier vocabularies may have spellings of one label
        found = {key: set(own) for key, own in columns.items()}
        for name, ancestors in self.implied.items():
            if reached := set().union(*(columns.get(label_key(one), ()) for one in ancestors)):
                found.setdefault(label_key(name), set()).update(reached)
        for alias, label in self.aliases.items():
            if label_key(label) in found:
                found[label_key(alias)] = found[label_key(label)]
        return {key: tuple(sorted(own)) for key, own in found.items()}

    @property
    def all_labels(self) -> list[str]:
        """Every label in the order of the vector."""
        return list(chain.from_iterable(self.by_family.values()))

    @property
    def families(self) -> list[str]:
        """The family of each of `all_labels`: ``"genre"``, ``"descriptor"``, or the name of another."""
        return [family for family, names in self.by_family.items() for _ in names]

    @property
    def family_places(self) -> np.ndarray:
        """The place of the family of each of `all_labels` in `by_family` [shape=(num_labels,), dtype=int64]."""
        return np.repeat(np.arange(len(self.by_family)), [len(names) for names in self.by_family.values()])

    def describe(self) -> str:
        """Say how many labels of each family there are, such as ``3 genres, 2 descriptors, 5 instruments``."""
        counts = {heading(family): len(names) for family, names in self.by_family.items()}
        return ", ".join(f"{count} {name}{' labels' * (name[-1] != 's')}" for name, count in counts.items())

    @cached_property
    def ancestors(self) -> np.ndarray:
        """Every label with each other label that it implies, directly or not: indices [shape=(m, 2), dtype=int64]."""
        implied = sparse.lil_array((self.num_labels, self.num_labels), dtype=bool)
        for family, labels in self.by_family.items():
            columns = self._columns[family]
            keys = {label: label_key(label) for label in labels}
            for label in labels:
                (place,) = (one for one in columns[keys[label]] if self.all_labels[one] == label)
                for one in columns[keys[label]]:
                    implied[place, one] = keys[self.all_labels[one]] != keys[label]  # not spellings of one label
        reached = implied.tocsr()
        while (further := (reached + reached @ reached).astype(bool)).nnz > reached.nnz:
            reached = further
        pairs = np.stack(reached.nonzero(), axis=1)
        result: np.ndarray = pairs[pairs[:, 0] != pairs[:, 1]].astype(np.int64)
        return result

    def __len__(self) -> int:
        return self.num_labels

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LabelEncoder):
            return NotImplemented
        return self._content() == other._content()

    def encode(
        self,
        primary_genres: Iterable[str] | None,
        secondary_genres: Iterable[str] | None,
        descriptors: Iterable[str] | None,
        others: Mapping[str, Iterable[str]] | None = None,
    ) -> np.ndarray:
        """Encode the labels of one album [shape=(num_labels,), dtype=float32]; unknown names are ignored.

        `others` has those of other families by family.
        """
        vector = np.zeros(self.num_labels, dtype=np.float32)
        for names, family, weight in (
            (secondary_genres, GENRE, self.secondary_weight),
            (primary_genres, GENRE, 1.0),
            (descriptors, DESCRIPTOR, 1.0),
            *((names, family_name(family), 1.0) for family, names in (others or {}).items()),
        ):
            for name in names if names is not None else ():
                vector[self.columns_of(family, name)] = weight
        return vector

    def columns_of(self, family: str, name: str) -> list[int]:
        """Return the places in the vector that a name of a family sets; none if it is not in the vocabulary."""
        return list(self._columns.get(family, {}).get(label_key(name), ()))

    def encode_many(
        self, primary_genres: _Lists, secondary_genres: _Lists, descriptors: _Lists, family_labels: Any = None
    ) -> sparse.csr_array:
        """Encode the labels of many albums as a sparse matrix [shape=(n, num_labels), dtype=float32].

        Each argument is a pyarrow list array or a sequence of iterables of str or None, with one entry per album. That
        of `family_labels` has the family and label of those of other families, see
        `eno.data.lute.albums.FAMILY_LABELS`.
        """
        secondary = self._incidence_of(secondary_genres, GENRE) * np.float32(self.secondary_weight)
        found = self._incidence_of(primary_genres, GENRE).maximum(secondary)
        found = found + self._incidence_of(descriptors, DESCRIPTOR)
        rows, entries = family_entries(family_labels)
        for family in self.by_family:
            own = pc.equal(entries.field("family"), family).to_numpy(zero_copy_only=False)
            if own.any():
                names = entries.field("label").filter(pa.array(own))
                found = found.maximum(self._incidence(rows[own], names, found.shape[0], self._columns[family]))
        matrix = sparse.csr_array(found)
        matrix.sum_duplicates()
        return matrix

    def encode_table(self, rows: pa.Table) -> sparse.csr_array:
        """Encode a table with label columns, see `encode_many`."""
        return self.encode_many(*label_columns(rows))

    def encode_targets(self, rows: pa.Table) -> sparse.csr_array:
        """Encode a table as the targets of training: like `encode_table`, but labels that have a value get it.

        A label that several others imply, such as a genre with subgenres, has the highest value of these.
        """
        matrix = self.encode_table(rows)
        highest: dict[tuple[int, int], float] = {}
        for row, one in value_entries(rows):
            for column in self.columns_of(one["family"], one["label"]):
                highest[row, column] = max(highest.get((row, column), 0.0), one["value"])
        if not highest:
            return matrix
        places = np.array(list(highest), np.int64)
        values = sparse.csr_array((np.array(list(highest.values()), np.float32), places.T), shape=matrix.shape)
        changed = np.unique(places[:, 0])
        others = [without_values(row) for row in rows.take(changed).to_pylist()]
        certain = self.encode_table(pa.Table.from_pylist(others, _LABELS)).tocoo()
        unchanged = np.ones(len(rows), np.float32)
        unchanged[changed] = 0
        matrix = sparse.diags_array(unchanged) @ matrix + sparse.csr_array(
            (certain.data, (changed[certain.row], certain.col)), shape=matrix.shape
        )
        return sparse.csr_array(matrix.maximum(values))

    def known_families(
        self, primary_genres: _Lists, secondary_genres: _Lists, descriptors: _Lists, family_labels: Any = None
    ) -> np.ndarray:
        """Return whether each album has any label of each family, in the vocabulary or not [(n, families), dtype=bool].

        The families are those of `by_family`. Nobody may have described an album without descriptors: that it has none
        says nothing. The arguments are those of `encode_many`.
        """
        primary, secondary, described = (has_names(one) for one in (primary_genres, secondary_genres, descriptors))
        rows, entries = family_entries(family_labels)
        families = np.array(entries.field("family").to_pylist(), dtype=object)
        known = {family: np.bincount(rows[families == family], minlength=len(primary)) > 0 for family in self.by_family}
        known[GENRE] |= primary | secondary
        known[DESCRIPTOR] |= described
        return np.stack(list(known.values()), axis=1)

    def known_in(self, rows: pa.Table) -> np.ndarray:
        """Return `known_families` of a table with label columns; a low value says that a family is known, too."""
        known = self.known_families(*label_columns(rows))
        places = {family: place for place, family in enumerate(self.by_family)}
        for row, one in value_entries(rows):
            if one["family"] in places:
                known[row, places[one["family"]]] = True
        return known

    def _incidence_of(self, lists: _Lists, family: str) -> sparse.csr_array:
        array = as_list_array(lists)
        rows = pc.list_parent_indices(array).to_numpy()
        return self._incidence(rows, pc.list_flatten(array), len(array), self._columns[family])

    def _incidence(
        self, rows: np.ndarray, texts: pa.Array, count: int, columns: dict[str, tuple[int, ...]]
    ) -> sparse.csr_array:
        # Each distinct name is looked up once.
        encoded = texts.dictionary_encode()
        reached = [columns.get(label_key(name), ()) for name in encoded.dictionary.to_pylist()]
        targets = np.array(list(chain.from_iterable(reached)), np.int64)
        labels_of_names = sparse.csr_array(
            (np.ones(len(targets), np.float32), targets, np.cumsum([0, *map(len, reached)])),
            shape=(len(reached), self.num_labels),
        )
        valid = encoded.indices.is_valid().to_numpy(zero_copy_only=False)
        names = encoded.indices.fill_null(0).to_numpy()[valid]
        rows = rows[valid]
        names_of_albums = sparse.csr_array((np.ones(len(rows), np.float32), (rows, names)), shape=(count, len(reached)))
        matrix = sparse.csr_array(names_of_albums @ labels_of_names)
        matrix.data[:] = 1.0
        return matrix

    def decode(self, vector: np.ndarray, threshold: float | np.ndarray = 0.5) -> dict[str, list[str]]:
        """Return ``{"genres": [...], "descriptors": [...]}`` with the labels whose value is above the threshold.

        Other families follow by name. Both arguments have the shape (num_labels,), or `threshold` is one for all
        labels.
        """
        if np.shape(vector) != (self.num_labels,):
            raise ValueError(f"vector has the shape {np.shape(vector)}, expected ({self.num_labels},).")
        above = iter((np.asarray(vector) > threshold).tolist())
        return {
            heading(family): [name for name, on in zip(names, above, strict=False) if on]
            for family, names in self.by_family.items()
        }

    def replaced(self, by_family: Mapping[str, Iterable[str]]) -> LabelEncoder:
        """Return a vocabulary of other labels with the same aliases, implied labels and secondary weight."""
        return LabelEncoder(
            by_family.get(GENRE, ()),
            by_family.get(DESCRIPTOR, ()),
            others={family: names for family, names in by_family.items() if family not in HEADINGS},
            secondary_weight=self.secondary_weight,
            aliases=self.aliases,
            implied=self.implied,
        )

    def save(self, path: Path | str) -> None:
        """Write the vocabulary as JSON. Fields at their default value are omitted."""
        write_json(Path(path), self._content())

    def _content(self) -> dict[str, Any]:
        content: dict[str, Any] = {"genres": self.genres, "descriptors": self.descriptors}
        if self.others:
            content = {"format": _FORMAT_WITH_OTHERS, **content, "others": self.others}
        if self.secondary_weight != 1.0:
            content["secondary_weight"] = self.secondary_weight
        return content | {name: value for name in ("aliases", "implied") if (value := getattr(self, name))}

    @classmethod
    def load(cls, path: Path | str) -> LabelEncoder:
        """Read a vocabulary written by `save`."""
        if not Path(path).exists():
            raise LabelError(f"{path}: no such file. Create it with: eno labels")
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            check_format(path, content.get("format", _FORMAT), _FORMAT_WITH_OTHERS, LabelError)
            names = ("others", "secondary_weight", "aliases", "implied")
            options = {name: content[name] for name in names if name in content}
            if "secondary_weight" in options:  # earlier versions accepted less
                options["secondary_weight"] = max(options["secondary_weight"], PRESENT)
            return cls(content["genres"], content["descriptors"], **options)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise LabelError(
                f'{path}: is not a label vocabulary ({error!r}); expected {{"genres": […], "descriptors": […]}}. '
                "Create it with: eno labels"
            ) from error
