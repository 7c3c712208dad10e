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

from eno.data.names import label_key
from eno.errors import LabelError, check_format
from eno.files import write_json

_Lists: TypeAlias = Any  # a list array of pyarrow, which has no types for mypy, or Sequence[Iterable[str] | None]


class LabelEncoder:
    """Encode genres and descriptors as multi-hot vectors, and decode them.

    A vector has all genres, primary or secondary, then all descriptors, each sorted by name. Names are compared
    by `eno.data.names.label_key`, so ignoring case and spelling variants that look alike.

    Parameters
    ----------
    secondary_weight : float
        Value of a secondary genre, above 0 and at most 1; primary ones are 1.
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
    """

    def __init__(
        self,
        genres: Iterable[str],
        descriptors: Iterable[str],
        *,
        secondary_weight: float = 1.0,
        aliases: Mapping[str, str] | None = None,
        implied: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        if not 0 < secondary_weight <= 1:
            raise LabelError(f"secondary_weight is {secondary_weight}; it must be above 0 and at most 1.")
        self.genres = sorted(set(genres))
        self.descriptors = sorted(set(descriptors))
        self.secondary_weight = float(secondary_weight)
        self.aliases = dict(aliases or {})
        self.implied = {name: list(labels) for name, labels in (implied or {}).items()}
        self.genre_to_idx = {name: i for i, name in enumerate(self.genres)}
        self.desc_to_idx = {name: i for i, name in enumerate(self.descriptors)}
        self.num_genres = len(self.genres)
        self.num_descriptors = len(self.descriptors)
        self.num_labels = self.num_genres + self.num_descriptors
        self._genre_columns = self._columns_of_names(self.genres, 0)
        self._descriptor_columns = self._columns_of_names(self.descriptors, self.num_genres)

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
        return self.genres + self.descriptors

    @property
    def families(self) -> list[str]:
        """``"genre"`` or ``"descriptor"`` for each of `all_labels`."""
        return ["genre"] * len(self.genres) + ["descriptor"] * len(self.descriptors)

    @cached_property
    def ancestors(self) -> np.ndarray:
        """Every label with each other label that it implies, directly or not: indices [shape=(m, 2), dtype=int64]."""
        implied = sparse.lil_array((self.num_labels, self.num_labels), dtype=bool)
        for labels, columns in ((self.genres, self._genre_columns), (self.descriptors, self._descriptor_columns)):
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
    ) -> np.ndarray:
        """Encode the labels of one album [shape=(num_labels,), dtype=float32]; unknown names are ignored."""
        vector = np.zeros(self.num_labels, dtype=np.float32)
        for names, columns, weight in (
            (secondary_genres, self._genre_columns, self.secondary_weight),
            (primary_genres, self._genre_columns, 1.0),
            (descriptors, self._descriptor_columns, 1.0),
        ):
            for name in names if names is not None else ():
                vector[list(columns.get(label_key(name), ()))] = weight
        return vector

    def encode_many(self, primary_genres: _Lists, secondary_genres: _Lists, descriptors: _Lists) -> sparse.csr_array:
        """Encode the labels of many albums as a sparse matrix [shape=(n, num_labels), dtype=float32].

        Each argument is a pyarrow list array or a sequence of iterables of str or None, with one entry per album.
        """
        primary = self._incidence(primary_genres, self._genre_columns)
        secondary = self._incidence(secondary_genres, self._genre_columns) * np.float32(self.secondary_weight)
        described = self._incidence(descriptors, self._descriptor_columns)
        matrix = sparse.csr_array(primary.maximum(secondary) + described)
        matrix.sum_duplicates()
        return matrix

    def known_families(self, primary_genres: _Lists, secondary_genres: _Lists, descriptors: _Lists) -> np.ndarray:
        """Return whether each album has any genre, and any descriptor, in the vocabulary or not [(n, 2), dtype=bool].

        Nobody may have described an album without descriptors: that it has none says nothing. The arguments are those
        of `encode_many`.
        """
        primary, secondary, described = (_has_names(one) for one in (primary_genres, secondary_genres, descriptors))
        return np.stack([primary | secondary, described], axis=1)

    def _incidence(self, lists: _Lists, columns: dict[str, tuple[int, ...]]) -> sparse.csr_array:
        # Each distinct name is looked up once.
        array = _as_list_array(lists)
        encoded = pc.list_flatten(array).dictionary_encode()
        reached = [columns.get(label_key(name), ()) for name in encoded.dictionary.to_pylist()]
        targets = np.array(list(chain.from_iterable(reached)), np.int64)
        labels_of_names = sparse.csr_array(
            (np.ones(len(targets), np.float32), targets, np.cumsum([0, *map(len, reached)])),
            shape=(len(reached), self.num_labels),
        )
        valid = encoded.indices.is_valid().to_numpy(zero_copy_only=False)
        names = encoded.indices.fill_null(0).to_numpy()[valid]
        rows = pc.list_parent_indices(array).to_numpy()[valid]
        names_of_albums = sparse.csr_array(
            (np.ones(len(rows), np.float32), (rows, names)), shape=(len(array), len(reached))
        )
        matrix = sparse.csr_array(names_of_albums @ labels_of_names)
        matrix.data[:] = 1.0
        return matrix

    def decode(self, vector: np.ndarray, threshold: float | np.ndarray = 0.5) -> dict[str, list[str]]:
        """Return ``{"genres": [...], "descriptors": [...]}`` with the labels whose value is above the threshold.

        Both arguments have the shape (num_labels,), or `threshold` is one for all labels.
        """
        if np.shape(vector) != (self.num_labels,):
            raise ValueError(f"vector has the shape {np.shape(vector)}, expected ({self.num_labels},).")
        above = np.asarray(vector) > threshold
        return {
            "genres": [name for name, on in zip(self.genres, above[: self.num_genres], strict=True) if on],
            "descriptors": [name for name, on in zip(self.descriptors, above[self.num_genres :], strict=True) if on],
        }

    def replaced(self, genres: Iterable[str], descriptors: Iterable[str]) -> LabelEncoder:
        """Return a vocabulary of other labels with the same aliases, implied labels and secondary weight."""
        return LabelEncoder(
            genres,
            descriptors,
            secondary_weight=self.secondary_weight,
            aliases=self.aliases,
            implied=self.implied,
        )

    def save(self, path: Path | str) -> None:
        """Write the vocabulary as JSON. Fields at their default value are omitted."""
        write_json(Path(path), self._content())

    def _content(self) -> dict[str, Any]:
        content: dict[str, Any] = {"genres": self.genres, "descriptors": self.descriptors}
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
            check_format(path, content.get("format", 1), 1, LabelError)
            options = {name: content[name] for name in ("secondary_weight", "aliases", "implied") if name in content}
            return cls(content["genres"], content["descriptors"], **options)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise LabelError(
                f'{path}: is not a label vocabulary ({error!r}); expected {{"genres": […], "descriptors": […]}}. '
                "Create it with: eno labels"
            ) from error


def _as_list_array(lists: _Lists) -> pa.ListArray:
    if isinstance(lists, pa.ChunkedArray):
        lists = lists.combine_chunks()
    if isinstance(lists, pa.Array):
        return lists.cast(pa.list_(pa.string()))
    return pa.array([None if names is None else list(names) for names in lists], pa.list_(pa.string()))


def _has_names(lists: _Lists) -> np.ndarray:
    array = _as_list_array(lists)
    has_text = pc.fill_null(pc.not_equal(pc.utf8_trim_whitespace(pc.list_flatten(array)), ""), False)
    rows = pc.list_parent_indices(array).filter(has_text).to_numpy()
    found: np.ndarray = np.bincount(rows, minlength=len(array)) > 0
    return found
