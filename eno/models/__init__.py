"""Vectors → tag probabilities. One module per kind of head.

A head is looked up by name (`create_head`), read back from its folder (`load_head`), or made from its class
(``from eno.models import MLPHead``); its module, and with it the library that it needs, is imported only then.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeAlias, cast

import numpy as np
from scipy import sparse

from eno.errors import ModelError
from eno.registry import check_options, find_class, import_class

if TYPE_CHECKING:
    from eno.models.blend import BlendHead
    from eno.models.knn import KNNHead
    from eno.models.lgbm.head import LightGBMHead
    from eno.models.linear import LinearHead
    from eno.models.mlp import MLPHead
    from eno.models.zero_shot import ZeroShotHead

__all__ = [
    "HEADS",
    "HEAD_FILE",
    "BlendHead",
    "Head",
    "KNNHead",
    "Labels",
    "LightGBMHead",
    "LinearHead",
    "MLPHead",
    "Vectors",
    "ZeroShotHead",
    "create_head",
    "load_head",
]

HEADS = {
    "mlp": "eno.models.mlp:MLPHead",
    "linear": "eno.models.linear:LinearHead",
    "lightgbm": "eno.models.lgbm.head:LightGBMHead",
    "knn": "eno.models.knn:KNNHead",
    "blend": "eno.models.blend:BlendHead",
    "zero_shot": "eno.models.zero_shot:ZeroShotHead",
}
"""Name → ``module:class`` of every head."""

HEAD_FILE = "head.json"
"""Names the head in its folder, and its settings."""

Labels: TypeAlias = np.ndarray | sparse.sparray | sparse.spmatrix
"""Multi-hot labels [shape=(n, k)], dense or sparse."""


class RowSource(Protocol):
    """Vectors that need not be in memory: what gives rows as arrays when it is indexed."""

    @property
    def shape(self) -> tuple[int, ...]:
        """``(n, dim)`` or ``(n, layers, dim)``."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> Any: ...


Vectors: TypeAlias = np.ndarray | RowSource
"""Vectors of tracks [shape=(n, dim) or (n, layers, dim)]: an array, also a memory-mapped one, a view of a store
(`eno.embeddings.store.embedding_store.EmbeddingStore.view`), or windows (`eno.models.bags.Bags`)."""


class Head(Protocol):
    """A multi-label classifier of vectors.

    Attributes
    ----------
    on_progress : callable or None
        Takes the steps done and to do while the head is fitted; set it before `fit`.
    """

    on_progress: Callable[[int, int], None] | None

    @property
    def takes_windows(self) -> bool:
        """Whether it wants the single windows of a track (`eno.models.bags.Bags`) rather than their mean."""

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
        """Learn from vectors and their labels.

        Parameters
        ----------
        X : Vectors [shape=(n, dim) or (n, layers, dim)]
            Vectors, see `Vectors`.
        Y : np.ndarray or sparse array of scipy [shape=(n, k)]
            Labels, 0 to 1. A label that is on all rows or on none is predicted by its prior.
        X_val, Y_val : optional
            The same for validation, by which the head chooses and decides when to stop. Without them a tenth of the
            training rows takes their place.
        groups : np.ndarray [shape=(n,)], optional
            What rows belong together, such as artists: then whole groups are held out.
        sample_weight : np.ndarray [shape=(n,)], optional
            How much each training row weighs.

        Returns
        -------
        Self
            The fitted head.
        """

    def predict_proba(self, X: Vectors) -> np.ndarray:
        """Probabilities of all labels.

        Parameters
        ----------
        X : Vectors [shape=(n, dim) or (n, layers, dim)]
            Vectors, see `Vectors`.

        Returns
        -------
        np.ndarray [shape=(n, k), dtype=float32]
            Each in 0 … 1.

        Raises
        ------
        NotFitted
            `fit` was not called yet.
        """

    def save(self, folder: Path | str) -> None:
        """Write the fitted head into a folder, without pickle."""

    @classmethod
    def load(cls, folder: Path | str, *, device: str = "auto") -> Self:
        """Read what `save` wrote, to compute on `device` (see `eno.devices.resolve_device`)."""


def create_head(name: str, **options: Any) -> Head:
    """Make a head by name.

    Parameters
    ----------
    name : str
        One of `HEADS`.
    **options
        Options of that head; its class documents them.

    Returns
    -------
    Head
        Not fitted yet.

    Raises
    ------
    UnknownName
        There is no such head.
    ConfigError
        The head has no such option.
    """
    head_class = find_class("head", name, HEADS)
    check_options("head", name, head_class, options)
    return cast(Head, head_class(**options))


def load_head(folder: Path | str, *, device: str = "auto") -> Head:
    """Read a head of any kind back from its folder.

    Parameters
    ----------
    folder : Path or str
        Where `Head.save` put it.
    device : str
        See `eno.devices.resolve_device`.

    Returns
    -------
    Head
        Fitted.

    Raises
    ------
    ModelError
        The folder holds no head, or it is damaged.
    UnknownName
        The head is of a kind that this eno does not know.
    """
    path = Path(folder) / HEAD_FILE
    try:
        name = json.loads(path.read_text(encoding="utf-8"))["head"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: is not a saved head ({error!r}). 'eno train' makes one.") from error
    return cast(Head, find_class("head", name, HEADS).load(folder, device=device))


def __getattr__(name: str) -> Any:
    for place in HEADS.values():
        if place.endswith(f":{name}"):
            return import_class(place)
    raise AttributeError(f"module 'eno.models' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
