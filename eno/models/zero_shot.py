"""Tags by their names alone: vectors of audio against vectors of text.

References
----------
Prompts and their ensembles: A. Radford et al., "Learning transferable visual models from natural language supervision",
ICML 2021, section 3.1.4. For audio: Y. Wu et al., ICASSP 2023, https://arxiv.org/abs/2211.06687.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Self

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from scipy.optimize import minimize
from scipy.special import expit

from eno.errors import ModelError
from eno.files import replace_file, write_json
from eno.models.base import take
from eno.models.heads import HEAD_FILE
from eno.models.types import Labels, Vectors

_WEIGHTS = "head.safetensors"
_MIN_ROWS = 4
# Standard deviations of what is believed before any label is seen: a tag's own offset, and the logarithm of the slope.
_OFFSET_DEVIATION, _SLOPE_DEVIATION = 1.0, 1.0


class ZeroShotHead:
    """Probability that a tag fits better than no tag at all.

    Parameters
    ----------
    prompts : np.ndarray [shape=(k, dim)]
        A text vector for every tag.
    neutral : np.ndarray [shape=(dim,)]
        The vector of the same texts without a tag.
    logit_scale : float
        What cosines were multiplied with when the encoder was trained.

    Attributes
    ----------
    slope : float
        Of the calibration; 1 before it.
    offsets : np.ndarray [shape=(k,)]
        Of the calibration; 0 before it.
    calibrated : bool
        Whether `fit` was called. Before that, the order of tracks within a tag means more than the probabilities.

    Notes
    -----
    A tag's logit is ``logit_scale * (cos(x, prompt) - cos(x, neutral))``, as if the encoder chose between "a shoegaze
    song" and "a song". `fit` calibrates: one slope for all tags, a common offset and one for each tag, which is held
    back by a prior, so that a few labelled tracks suffice and a tag that is on none of them gets a sensible offset too.
    """

    def __init__(self, *, prompts: np.ndarray, neutral: np.ndarray, logit_scale: float) -> None:
        self.prompts = _unit(np.asarray(prompts, np.float32))
        self.neutral = _unit(np.asarray(neutral, np.float32))
        self.logit_scale = float(logit_scale)
        self.slope = 1.0
        self.offsets = np.zeros(len(self.prompts), np.float32)
        self.calibrated = False

    on_progress: Callable[[int, int], None] | None = None

    @property
    def takes_windows(self) -> bool:
        """See `eno.models.Head`."""
        return False

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
        """Calibrate on labelled rows; see `eno.models.Head.fit`. Validation rows are not needed, and are added.

        Groups and weights have no meaning here.

        Raises
        ------
        ValueError
            Shapes do not fit together, or there are fewer than four rows.
        """
        X, dense = take(X, slice(None)), _dense(Y)
        if X_val is not None and Y_val is not None:
            X, dense = np.concatenate([X, take(X_val, slice(None))]), np.concatenate([dense, _dense(Y_val)])
        if dense.shape != (len(X), len(self.prompts)):
            raise ValueError(f"Y has the shape {dense.shape}; expected {(len(X), len(self.prompts))}.")
        if len(X) < _MIN_ROWS:
            raise ValueError(f"{len(X)} labelled rows are too few to calibrate on; at least {_MIN_ROWS} are needed.")
        logits = self._logits(X)

        def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
            slope, common, own = np.exp(parameters[0]), parameters[1], parameters[2:]
            z = slope * logits + common + own
            error = expit(z) - dense
            value = np.logaddexp(0, z).sum() - (dense * z).sum()
            value += 0.5 * (parameters[0] / _SLOPE_DEVIATION) ** 2 + 0.5 * np.square(own / _OFFSET_DEVIATION).sum()
            gradient = np.empty_like(parameters)
            gradient[0] = slope * (error * logits).sum() + parameters[0] / _SLOPE_DEVIATION**2
            gradient[1] = error.sum()
            gradient[2:] = error.sum(axis=0) + own / _OFFSET_DEVIATION**2
            return float(value), gradient

        start = np.zeros(2 + len(self.prompts))
        best = minimize(loss, start, jac=True, method="L-BFGS-B").x
        self.slope = float(np.exp(best[0]))
        self.offsets = (best[1] + best[2:]).astype(np.float32)
        self.calibrated = True
        return self

    def predict_proba(self, X: Vectors) -> np.ndarray:
        """Probabilities of all tags; see `eno.models.Head.predict_proba`."""
        probabilities: np.ndarray = expit(self.slope * self._logits(take(X, slice(None))) + self.offsets).astype(
            np.float32
        )
        return probabilities

    def _logits(self, X: np.ndarray) -> np.ndarray:
        if X.ndim != 2 or X.shape[1] != self.prompts.shape[1]:
            raise ValueError(f"X has the shape {X.shape}; expected (n, {self.prompts.shape[1]}).")
        directions = self.prompts - self.neutral
        logits: np.ndarray = self.logit_scale * (_unit(X) @ directions.T)
        return logits

    def save(self, folder: Path | str) -> None:
        """Write the head into a folder, without pickle."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(
            folder / HEAD_FILE,
            {
                "head": "zero_shot",
                "logit_scale": self.logit_scale,
                "slope": self.slope,
                "calibrated": self.calibrated,
            },
        )
        with replace_file(folder / _WEIGHTS) as temporary:
            save_file({"prompts": self.prompts, "neutral": self.neutral, "offsets": self.offsets}, temporary)

    @classmethod
    def load(cls, folder: Path | str, *, device: str = "auto") -> Self:
        """Read what `save` wrote; see `eno.models.load_head`.

        Raises
        ------
        ModelError
            The folder holds no such head, or it is damaged.
        """
        del device
        folder = Path(folder)
        try:
            settings = json.loads((folder / HEAD_FILE).read_text(encoding="utf-8"))
            arrays = load_file(folder / _WEIGHTS)
            head = cls(prompts=arrays["prompts"], neutral=arrays["neutral"], logit_scale=settings["logit_scale"])
            head.slope, head.calibrated = float(settings["slope"]), bool(settings["calibrated"])
            head.offsets = arrays["offsets"]
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise ModelError(f"{folder}: is no saved zero-shot head ({error!r}). Make it again.") from error
        return head


def _unit(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit: np.ndarray = vectors / np.maximum(lengths, 1e-12)
    return unit


def _dense(Y: Labels) -> np.ndarray:
    dense = Y if isinstance(Y, np.ndarray) else Y.toarray()
    return dense.astype(np.float64)
