"""The base class of heads: parameters as in scikit-learn, saving and loading."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from scipy import sparse

from eno.errors import ModelError, NotFitted
from eno.files import replace_file, write_json
from eno.models.heads import FORMAT, HEAD_FILE, read_head_file
from eno.models.training_data import ROWS_AT_ONCE, TrainingData, as_vectors, check_finite, chunks, take
from eno.models.types import Labels, Vectors

if TYPE_CHECKING:
    from eno.models.epochs import Epoch  # which imports PyTorch

_ARRAYS = "head.safetensors"
TREES, NEIGHBOURS = "trees.txt", "neighbours.faiss"
_LABELS = ("indptr", "indices", "data")
_FILES = (_ARRAYS, TREES, NEIGHBOURS)


class BaseHead:
    """Base class of heads.

    A subclass stores every parameter of its ``__init__`` in an attribute of the same name, and implements `_fit` and
    `_predict`, which depends only on what `_fit` learned, not on parameters that may have changed since. To be saved it
    implements `_state` and `_restore`, and, if JSON and arrays are not enough, `_write_files` and `_read_files`.
    """

    name: ClassVar[str]
    """Name in `eno.models.HEADS`."""

    on_progress: Callable[[int, int], None] | None = None
    """Called with the number of steps done and the maximum while the head is fitted."""

    on_epoch: Callable[[Epoch], None] | None = None
    """Called after each epoch by heads that are trained in epochs."""

    seed: int = 0
    _min_rows: ClassVar[int] = 2
    _rows_at_once: ClassVar[int] = ROWS_AT_ONCE
    _shape: tuple[int, ...] | None = None  # of one vector; None until the head is fitted
    _fitted_options: dict[str, Any] | None = None  # in the form in which they are saved

    @property
    def takes_windows(self) -> bool:
        """See `eno.models.Head`; most heads take the mean of a track's windows."""
        return False

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the options by name; `deep` has no effect, but scikit-learn's `clone` passes it."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def set_params(self, **options: Any) -> Self:
        """Change options for the next `fit`; an unknown one raises a ValueError."""
        known = self.get_params()
        for name, value in options.items():
            if name not in known:
                raise ValueError(f"{type(self).__name__} has no option {name!r}; it has: {', '.join(known)}.")
            setattr(self, name, value)
        return self

    def fit(
        self,
        X: Vectors,
        Y: Labels,
        X_val: Vectors | None = None,
        Y_val: Labels | None = None,
        *,
        groups: np.ndarray | None = None,
        sample_weight: np.ndarray | None = None,
    ) -> Self:
        """Fit the head; see `eno.models.Head.fit`.

        Raises
        ------
        ValueError
            Shapes do not match, there are too few rows, a value is not finite, or an option is invalid.
        TrainingError
            Training diverges, or fails for all labels.
        """
        X = as_vectors(X)
        if X_val is None and len(X) < self._min_rows:
            raise ValueError(f"Fitting needs at least {self._min_rows} labelled rows; there are {len(X)}.")
        data = TrainingData.of(X, Y, X_val, Y_val, groups=groups, sample_weight=sample_weight, seed=self.seed)
        options = self._saved_options()
        self._fit(data)
        self._shape, self._fitted_options = data.shape, options
        return self

    def _fit(self, data: TrainingData) -> None:
        raise NotImplementedError

    def predict_proba(self, X: Vectors) -> np.ndarray:
        """See `eno.models.Head.predict_proba`.

        Raises
        ------
        NotFitted
            The head is not fitted.
        ValueError
            The vectors have another shape than in training, or a value is not finite.
        """
        X = as_vectors(X)
        self._check(X)
        return np.concatenate([self._predict(self._read(X, rows)) for rows in chunks(len(X), self._rows_at_once)])

    def _read(self, X: Vectors, rows: slice) -> Any:
        """Return what `_predict` takes: vectors, or windows where the head pools them itself."""
        vectors = take(X, rows)
        check_finite(vectors, rows.start)
        return vectors

    def _predict(self, X: Any) -> np.ndarray:
        """Return the probabilities [shape=(n, k), dtype=float32] of some rows."""
        raise NotImplementedError

    def save(self, folder: Path | str) -> None:
        """Write the fitted head into a folder: ``head.json``, ``head.safetensors``, and files of its library."""
        if self._shape is None:
            raise NotFitted(type(self).__name__)
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        remove_head(folder)
        state, arrays = self._state()
        self._write_files(folder)
        if arrays:
            with replace_file(folder / _ARRAYS) as temporary:
                save_file({name: np.ascontiguousarray(value) for name, value in arrays.items()}, temporary)
        options = self._saved_options() if self._fitted_options is None else self._fitted_options
        head = {"head": self.name, "format": FORMAT, "options": options, "shape": list(self._shape)}
        write_json(folder / HEAD_FILE, head | state)

    @classmethod
    def load(cls, folder: Path | str, *, device: str = "auto") -> Self:
        """Load a saved head onto `device` (see `eno.devices.resolve_device`); raises a ModelError if it is damaged."""
        folder = Path(folder)
        content = read_head_file(folder)
        try:
            arrays = load_file(folder / _ARRAYS) if (folder / _ARRAYS).exists() else {}
            head = cls._create(content, arrays, device)
            head._restore(content, arrays)
            head._read_files(folder)
            head._fitted_options = head._saved_options()
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise ModelError(f"{folder}: the saved head is damaged ({error!r}). Train it again.") from error
        return head

    def _saved_options(self) -> dict[str, Any]:
        options = {name: value for name, value in self.get_params().items() if name != "device"}
        return {name: value.tolist() if hasattr(value, "tolist") else value for name, value in options.items()}

    @classmethod
    def _create(cls, content: dict[str, Any], arrays: dict[str, np.ndarray], device: str) -> Self:
        del arrays
        options = content["options"] | {"device": device}
        if unknown := options.keys() - inspect.signature(cls).parameters.keys():
            raise ModelError(
                f"The saved head {cls.name!r} has the option {min(unknown)!r}, which this version of eno does not "
                "have. Another version wrote it: upgrade eno, or train the head again."
            )
        return cls(**options)

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return the fitted state: values for JSON, and arrays."""
        return {}, {}

    def _restore(self, content: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        """Restore what `_state` returned. Heads that eno 0.1 saved without ``shape`` override this."""
        self._shape = tuple(content["shape"])

    def _write_files(self, folder: Path) -> None:
        pass

    def _read_files(self, folder: Path) -> None:
        pass

    def _check(self, X: Vectors) -> None:
        """Raise NotFitted, or a ValueError if the shape of the vectors differs from that in training."""
        if self._shape is None:
            raise NotFitted(type(self).__name__)
        if tuple(X.shape[1:]) != self._shape:
            fitted = ", ".join(map(str, self._shape))
            raise ValueError(f"X has the shape {X.shape}; this head was fitted on (n, {fitted}).")

    def _report(self, done: int, total: int) -> None:
        if self.on_progress is not None:
            self.on_progress(done, total)


def labels_to_arrays(labels: sparse.csr_array) -> dict[str, np.ndarray]:
    """Return the arrays of sparse labels, to be saved with a head."""
    return {name: getattr(labels, name) for name in _LABELS}


def labels_from_arrays(arrays: dict[str, np.ndarray], shape: tuple[int, int]) -> sparse.csr_array:
    """Take what `labels_to_arrays` returned out of the saved arrays; raises a ValueError if it is damaged."""
    indptr, indices, data = (arrays.pop(name) for name in _LABELS)
    labels = sparse.csr_array((data, indices, indptr), shape)
    labels.check_format()
    return labels


def remove_head(folder: Path) -> None:
    """Remove the files of a saved head of any kind, and nothing else, from a folder.

    ``head.json`` goes first, so that an interruption cannot leave a mixture of two heads.
    """
    for name in (HEAD_FILE, *_FILES):
        (folder / name).unlink(missing_ok=True)
    for member in folder.iterdir():  # of a blend
        if member.name.isdecimal() and member.is_dir():
            remove_head(member)
            if not any(member.iterdir()):
                member.rmdir()
