"""Taught tags and their examples, kept with a predictor."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from scipy.special import expit

from eno.data.labels.encoder import LabelEncoder
from eno.data.names import label_key
from eno.errors import ModelError, check_format
from eno.files import replace_file
from eno.models.bags import Bags
from eno.models.taught.fitting import FittedTag, TagEstimate, fit_tag
from eno.models.types import Vectors

_FORMAT, _ABOUT = 1, "eno"


@dataclass(frozen=True, eq=False)
class Examples:
    """Tracks that have a tag, or do not.

    Attributes
    ----------
    names : tuple of str
        Track ids, or paths of files outside the collection.
    vectors : np.ndarray [shape=(n, d), dtype=float32]
        Their mean vectors, flattened.
    groups : tuple of str
        The artist of each, or its album if the artist is unknown.
    """

    names: tuple[str, ...]
    vectors: np.ndarray
    groups: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def joined(self, other: Examples) -> Examples:
        """Return these and other examples; those in both are taken from `other`."""
        kept = self.without(other.names)
        vectors = np.concatenate([kept.vectors, other.vectors]) if len(kept) else other.vectors
        return Examples(kept.names + other.names, vectors, kept.groups + other.groups)

    def without(self, names: Sequence[str]) -> Examples:
        """Return the examples with other names."""
        rows = [row for row, name in enumerate(self.names) if name not in set(names)]
        return Examples(
            tuple(self.names[row] for row in rows), self.vectors[rows], tuple(self.groups[row] for row in rows)
        )


@dataclass(frozen=True, eq=False)
class TaughtTag:
    """A tag with its examples, counter-examples, and what was fitted to them."""

    name: str
    family: str
    examples: Examples
    counter_examples: Examples
    fitted: FittedTag

    @classmethod
    def fit(
        cls,
        name: str,
        family: str,
        examples: Examples,
        counter_examples: Examples,
        background: np.ndarray,
        *,
        exponent: float = 1.0,
    ) -> TaughtTag:
        """Fit a tag; see `eno.models.taught.fitting.fit_tag`."""
        fitted = fit_tag(
            examples.vectors,
            background,
            counter_examples=counter_examples.vectors if len(counter_examples) else None,
            groups=np.array(examples.groups),
            exponent=exponent,
        )
        return cls(name, family, examples, counter_examples, fitted)


@dataclass(frozen=True, eq=False)
class TaughtTags:
    """Tags that were taught to a predictor.

    They depend on the vectors only, not on the predictor's head, so they outlast its training on the same encoder.
    """

    tags: tuple[TaughtTag, ...] = ()

    def __len__(self) -> int:
        return len(self.tags)

    def find(self, name: str) -> TaughtTag | None:
        """Return the tag of a name, regardless of case."""
        return next((tag for tag in self.tags if label_key(tag.name) == label_key(name)), None)

    def with_tag(self, tag: TaughtTag) -> TaughtTags:
        """Add a tag, or replace the one of the same name."""
        return TaughtTags((*self.without(tag.name).tags, tag))

    def without(self, *names: str) -> TaughtTags:
        """Leave out tags."""
        keys = set(map(label_key, names))
        return TaughtTags(tuple(tag for tag in self.tags if label_key(tag.name) not in keys))

    def names(self, family: str) -> list[str]:
        """Return the names of the tags of a family."""
        return [tag.name for tag in self.tags if tag.family == family]

    def added_to(self, labels: LabelEncoder) -> LabelEncoder:
        """Return a vocabulary with these tags."""
        families = dict.fromkeys([*labels.by_family, *(tag.family for tag in self.tags)])
        return labels.replaced({one: [*labels.by_family.get(one, ()), *self.names(one)] for one in families})

    def removed_from(self, labels: LabelEncoder) -> LabelEncoder:
        """Return the vocabulary to which these tags were added."""
        taught = {family: set(self.names(family)) for family in labels.by_family}
        return labels.replaced({
            family: [name for name in names if name not in taught[family]] for family, names in labels.by_family.items()
        })  # fmt: skip

    @property
    def thresholds(self) -> np.ndarray:
        """Probability above which a track has each tag [shape=(k,)]."""
        return np.array([tag.fitted.threshold for tag in self.tags])

    def predict_proba(self, X: Vectors) -> np.ndarray:
        """Return calibrated probabilities [shape=(n, k), dtype=float32] of vectors, or of the means of windows."""
        means = X.means() if isinstance(X, Bags) else np.asarray(X[:])
        coefficients = np.stack([tag.fitted.coefficients for tag in self.tags], axis=1)
        intercepts = np.array([tag.fitted.intercept for tag in self.tags])
        found: np.ndarray = expit(means.reshape(len(means), -1) @ coefficients + intercepts)
        return found.astype(np.float32)

    def joined(self, labels: LabelEncoder, trained: np.ndarray, taught: np.ndarray) -> np.ndarray:
        """Join values of trained and of taught labels [shape=(..., k)] in the order of `labels`, which has both."""
        columns, others = self._columns(labels)
        values = np.empty((*trained.shape[:-1], len(labels)), trained.dtype)
        values[..., others], values[..., columns] = trained, taught
        return values

    def separated(self, labels: LabelEncoder, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Undo `joined`."""
        columns, others = self._columns(labels)
        return values[..., others], values[..., columns]

    def _columns(self, labels: LabelEncoder) -> tuple[np.ndarray, np.ndarray]:
        """Return the columns of the taught labels, in the order of `tags`, and those of the others."""
        place = {name: column for column, name in enumerate(zip(labels.families, labels.all_labels, strict=True))}
        columns = np.array([place[tag.family, tag.name] for tag in self.tags], np.int64)
        return columns, np.setdiff1d(np.arange(len(labels)), columns)

    def save(self, path: Path) -> None:
        """Write one file, atomically; none if there are no tags."""
        if not self.tags:
            path.unlink(missing_ok=True)
            return
        about, arrays = [], dict[str, np.ndarray]()
        for place, tag in enumerate(self.tags):
            fitted, parts = tag.fitted, {"examples": tag.examples, "counter_examples": tag.counter_examples}
            about.append({
                "name": tag.name, "family": tag.family, "intercept": fitted.intercept, "threshold": fitted.threshold,
                "estimate": asdict(fitted.estimate),
                **{kind: {"names": part.names, "groups": part.groups} for kind, part in parts.items()},
            })  # fmt: skip
            arrays[f"{place}.coefficients"] = fitted.coefficients
            arrays |= {f"{place}.{kind}": np.ascontiguousarray(part.vectors) for kind, part in parts.items()}
        with replace_file(path) as temporary:
            save_file(arrays, temporary, {_ABOUT: json.dumps({"format": _FORMAT, "tags": about})})

    @classmethod
    def load(cls, path: Path) -> TaughtTags:
        """Read what `save` wrote; raises a ModelError if it is damaged or newer."""
        if not path.is_file():
            return cls()
        try:
            with safe_open(path, "numpy") as file:
                about = json.loads(file.metadata()[_ABOUT])
                check_format(path, about["format"], _FORMAT, ModelError)
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return cls(tuple(_tag(one, arrays, str(place)) for place, one in enumerate(about["tags"])))
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise ModelError(
                f"{path}: the taught tags are damaged ({error!r}). Remove the file, and teach them again with "
                "'eno teach'."
            ) from error


def _tag(about: dict[str, Any], arrays: dict[str, np.ndarray], place: str) -> TaughtTag:
    coefficients = arrays[f"{place}.coefficients"]

    def examples(kind: str) -> Examples:
        names, groups, vectors = about[kind]["names"], about[kind]["groups"], arrays[f"{place}.{kind}"]
        if not len(names) == len(groups) == len(vectors) or vectors.shape[1:] != coefficients.shape:
            raise ValueError(f"{kind} of {about['name']!r} with vectors of shape {vectors.shape}")
        return Examples(tuple(names), vectors, tuple(groups))

    estimate = TagEstimate(**about["estimate"])
    fitted = FittedTag(coefficients, float(about["intercept"]), float(about["threshold"]), estimate)
    return TaughtTag(about["name"], about["family"], examples("examples"), examples("counter_examples"), fitted)
