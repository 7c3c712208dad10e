"""Labels ↔ vectors."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from scipy import sparse

from eno.errors import LabelError
from eno.files import write_json


class LabelEncoder:
    """Turns Lute's genres and descriptors into multi-hot vectors and back.

    Primary and secondary genres share one vocabulary; descriptors follow after it.

    Parameters
    ----------
    genres, descriptors : iterable of str
        The vocabulary; it is sorted, and repeated names count once.

    Attributes
    ----------
    genres, descriptors : list of str
        The vocabulary in the order of the vector.
    num_genres, num_descriptors, num_labels : int
        Its sizes.

    Examples
    --------
    >>> encoder = LabelEncoder(["shoegaze", "dream pop"], ["melancholic"])
    >>> encoder.encode(["shoegaze"], [], ["melancholic"])
    array([0., 1., 1.], dtype=float32)
    >>> encoder.decode(np.array([0.1, 0.9, 0.4]))
    {'genres': ['shoegaze'], 'descriptors': []}
    """

    def __init__(self, genres: Iterable[str], descriptors: Iterable[str]) -> None:
        self.genres = sorted(set(genres))
        self.descriptors = sorted(set(descriptors))
        self.genre_to_idx = {name: i for i, name in enumerate(self.genres)}
        self.desc_to_idx = {name: i for i, name in enumerate(self.descriptors)}
        self.num_genres = len(self.genres)
        self.num_descriptors = len(self.descriptors)
        self.num_labels = self.num_genres + self.num_descriptors

    @property
    def all_labels(self) -> list[str]:
        """Every label in the order of the vector."""
        return self.genres + self.descriptors

    def __len__(self) -> int:
        return self.num_labels

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LabelEncoder):
            return NotImplemented
        return self.genres == other.genres and self.descriptors == other.descriptors

    __hash__ = None  # type: ignore[assignment]  # equal by value, and the lists are open to everyone

    def _columns(
        self,
        primary_genres: Iterable[str] | None,
        secondary_genres: Iterable[str] | None,
        descriptors: Iterable[str] | None,
    ) -> set[int]:
        genres = {
            self.genre_to_idx.get(name, -1) for names in (primary_genres, secondary_genres) for name in names or ()
        }
        offset = self.num_genres
        described = {offset + self.desc_to_idx[name] for name in descriptors or () if name in self.desc_to_idx}
        return (genres | described) - {-1}

    def encode(
        self,
        primary_genres: Iterable[str] | None,
        secondary_genres: Iterable[str] | None,
        descriptors: Iterable[str] | None,
    ) -> np.ndarray:
        """Encode the labels of one album.

        Parameters
        ----------
        primary_genres, secondary_genres, descriptors : iterable of str or None
            Lute's label fields. Names outside the vocabulary are left out.

        Returns
        -------
        np.ndarray [shape=(num_labels,), dtype=float32]
            1 where the album has the label, else 0.
        """
        vector = np.zeros(self.num_labels, dtype=np.float32)
        vector[list(self._columns(primary_genres, secondary_genres, descriptors))] = 1.0
        return vector

    def encode_many(
        self,
        primary_genres: Sequence[Iterable[str] | None],
        secondary_genres: Sequence[Iterable[str] | None],
        descriptors: Sequence[Iterable[str] | None],
    ) -> sparse.csr_array:
        """Encode the labels of many albums without ever holding the dense matrix.

        Parameters
        ----------
        primary_genres, secondary_genres, descriptors : sequence of iterables of str, or None
            One entry an album.

        Returns
        -------
        scipy.sparse.csr_array [shape=(n, num_labels), dtype=float32]
            Row by row what `encode` gives.
        """
        rows = [
            sorted(self._columns(*fields)) for fields in zip(primary_genres, secondary_genres, descriptors, strict=True)
        ]
        ends = np.cumsum([0, *map(len, rows)])
        columns = np.fromiter((column for row in rows for column in row), dtype=np.int64, count=int(ends[-1]))
        ones = np.ones(len(columns), np.float32)
        return sparse.csr_array((ones, columns, ends), shape=(len(rows), self.num_labels))

    def decode(self, vector: np.ndarray, threshold: float = 0.5) -> dict[str, list[str]]:
        """Name the labels whose value is above a threshold.

        Parameters
        ----------
        vector : np.ndarray [shape=(num_labels,)]
            Probabilities, or a multi-hot vector.
        threshold : float
            Labels with a value strictly above it are named.

        Returns
        -------
        dict
            ``{"genres": [...], "descriptors": [...]}``.

        Raises
        ------
        ValueError
            The vector has another length than the vocabulary.
        """
        if np.shape(vector) != (self.num_labels,):
            raise ValueError(f"vector has the shape {np.shape(vector)}; expected ({self.num_labels},).")
        above = np.asarray(vector) > threshold
        return {
            "genres": [name for name, on in zip(self.genres, above[: self.num_genres], strict=True) if on],
            "descriptors": [name for name, on in zip(self.descriptors, above[self.num_genres :], strict=True) if on],
        }

    def save(self, path: Path | str) -> None:
        """Write the vocabulary as JSON."""
        write_json(Path(path), {"genres": self.genres, "descriptors": self.descriptors})

    @classmethod
    def load(cls, path: Path | str) -> LabelEncoder:
        """Read a vocabulary that `save` wrote.

        Raises
        ------
        LabelError
            The file is missing or holds something else.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            return cls(content["genres"], content["descriptors"])
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise LabelError(
                f'{path}: is not a label vocabulary ({error!r}); expected {{"genres": […], "descriptors": […]}}.'
            ) from error
