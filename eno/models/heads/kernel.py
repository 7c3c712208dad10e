"""Logistic regression with a Gaussian kernel."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np

from eno.models.heads.linear import LinearHead
from eno.models.training_data import TrainingData, take
from eno.models.types import Count, NonNegative, Positive, Vectors

_RELATIVE_FLOOR = 1e-6  # of the largest eigenvalue; smaller ones are rounding errors in float32
_FARTHEST = 3.0  # deviations from the mean, beyond which a value is as far as that
_KERNEL = ("centre", "inverse_deviation", "farthest", "landmarks", "whitening")


class KernelHead(LinearHead):
    """L2-regularised logistic regression on the features of a Gaussian kernel of standardised vectors.

    Values more than three standard deviations from the mean are taken for three: a single outlying value would make a
    row unlike all others.

    Parameters
    ----------
    landmarks : int
        Maximum number of training rows, a random sample, that span the features.
    gamma : float
        The kernel is ``exp(-gamma / dim * squared distance)``; 1 is the default of scikit-learn's `SVC`.
    l2, max_iterations, seed
        See `eno.models.heads.linear.LinearHead`.

    Notes
    -----
    With fewer training rows than landmarks, this is kernel logistic regression; with more, its Nyström approximation
    (C. Williams and M. Seeger, "Using the Nyström method to speed up kernel machines", NIPS 2000).
    """

    name = "kernel"
    _first_l2: ClassVar[float] = 0.003

    def __init__(
        self,
        *,
        landmarks: Count = 1000,
        gamma: Positive = 1.0,
        l2: tuple[NonNegative, ...] | None = None,
        max_iterations: Count = 200,
        seed: int = 0,
        device: str = "auto",
    ) -> None:
        super().__init__(l2=l2, max_iterations=max_iterations, seed=seed, device=device)
        self.landmarks, self.gamma = landmarks, gamma
        self._features: _Features | None = None

    def _fit(self, data: TrainingData) -> None:
        mean, scale = (values.ravel() for values in data.moments())
        rows = np.random.default_rng(self.seed).permutation(np.flatnonzero(data.weights.counted()))[: self.landmarks]
        chosen = take(data.X, data.rows[np.sort(rows)]).reshape(len(rows), -1)
        self._features = features = _Features.of(chosen, mean, scale, self.gamma)
        width = features.whitening.shape[1]
        mapped = replace(data, X=_Mapped(data.X, features), X_val=_Mapped(data.X_val, features))
        self._fit_features(mapped, np.zeros(width, np.float32), np.ones(width, np.float32))

    def _start_from(self, fitted: Self) -> dict[str, np.ndarray]:
        return {}  # other landmarks span other features

    def _predict(self, X: np.ndarray) -> np.ndarray:
        assert self._features is not None
        return super()._predict(self._features(X))

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        assert self._features is not None
        content, arrays = super()._state()
        return content | {"gamma": self._features.gamma}, arrays | self._features.arrays

    def _restore(self, content: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        arrays.setdefault("farthest", np.full(1, np.inf, np.float32))  # missing in the first heads of this kind
        self._features = _Features({name: arrays.pop(name) for name in _KERNEL}, content["gamma"])
        super()._restore(content, arrays)


class _Features:
    """The map from vectors to features whose inner products are the kernel.

    `arrays` holds the mean and inverse deviation of the vectors, the farthest that standardised values can be from 0,
    standardised landmarks [shape=(m, dim)], and the inverse square root of their kernel matrix [shape=(m, rank)].
    """

    def __init__(self, arrays: dict[str, np.ndarray], gamma: float) -> None:
        self.arrays, self.gamma, self.whitening = arrays, gamma, arrays["whitening"]

    @classmethod
    def of(cls, rows: np.ndarray, mean: np.ndarray, scale: np.ndarray, gamma: float) -> _Features:
        farthest = np.full(1, _FARTHEST, np.float32)
        landmarks = _standardised(rows, mean, scale, farthest)
        values, axes = np.linalg.eigh(_kernel(landmarks, landmarks, gamma).astype(np.float64))
        kept = values > _RELATIVE_FLOOR * values[-1]
        whitening = (axes[:, kept] / np.sqrt(values[kept])).astype(np.float32)
        return cls(dict(zip(_KERNEL, (mean, scale, farthest, landmarks, whitening), strict=True)), gamma)

    def __call__(self, X: np.ndarray) -> np.ndarray:
        mean, scale, farthest = (self.arrays[name] for name in _KERNEL[:3])
        standardised = _standardised(X.reshape(len(X), len(mean)), mean, scale, farthest)
        features: np.ndarray = _kernel(standardised, self.arrays["landmarks"], self.gamma) @ self.whitening
        return features


class _Mapped:
    """The features of rows, which are computed when they are read."""

    def __init__(self, X: Vectors, features: _Features) -> None:
        self._X, self._features = X, features
        self.shape = (len(X), features.whitening.shape[1])

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        return self._features(take(self._X, rows))


def _standardised(X: np.ndarray, mean: np.ndarray, scale: np.ndarray, farthest: np.ndarray) -> np.ndarray:
    result: np.ndarray = np.clip((X - mean) * scale, -farthest, farthest)
    return result


def _kernel(a: np.ndarray, b: np.ndarray, gamma: float) -> np.ndarray:
    values: np.ndarray = a @ b.T  # changed in place: of all landmarks, they are the largest arrays
    values *= -2
    values += np.square(a).sum(axis=1)[:, np.newaxis]
    values += np.square(b).sum(axis=1)
    np.maximum(values, 0, out=values)
    values *= -gamma / a.shape[1]
    np.exp(values, out=values)
    return values
