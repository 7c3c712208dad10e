"""Zero-shot tags: embeddings of audio are compared with embeddings of text.

Prompts and their ensembles: A. Radford et al., "Learning transferable visual models from natural language supervision",
ICML 2021, section 3.1.4. For audio: Y. Wu et al., ICASSP 2023, https://arxiv.org/abs/2211.06687.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from scipy import sparse
from scipy.special import expit

from eno.data.labels.values import present
from eno.models.base import BaseHead
from eno.models.calibration.scaling import fit_scaling
from eno.models.label_weights import LabelWeights
from eno.models.training_data import TrainingData, take

# Prior standard deviations of a tag's slope and offset around those of all tags. That of the slope is small: logits are
# cosines of one space, so tags differ in offset far more than in slope.
_DEVIATIONS = (0.1, 1.0)


class ZeroShotHead(BaseHead):
    """Probability that audio matches a prompt with the tag better than the same prompt without it.

    Parameters
    ----------
    prompts : np.ndarray [shape=(k, dim)]
        A text embedding for every tag.
    neutral : np.ndarray [shape=(dim,)]
        The text embedding of the prompt without a tag.
    logit_scale : float
        Factor of the cosines in the encoder's training.

    Attributes
    ----------
    slopes, offsets : np.ndarray [shape=(k,)]
        Calibration of the logits; 1 and 0 before `fit`.
    calibrated : bool
        Whether `fit` was called. Before that, only the ranking of tracks within a tag is reliable.

    Notes
    -----
    A tag's logit is ``logit_scale * (cos(x, prompt) - cos(x, neutral))``, as if the encoder chose between "a shoegaze
    song" and "a song". `fit` calibrates it by Platt scaling shrunk towards the slope and offset of all tags
    (`eno.models.calibration.scaling.fit_scaling`), so that a few labelled tracks suffice. It uses validation rows like
    training rows, and ignores groups and weights, except that labels of weight 0 do not count.
    """

    _min_rows = 4
    name = "zero_shot"
    _is_cross_fitted = False

    def __init__(self, *, prompts: np.ndarray, neutral: np.ndarray, logit_scale: float) -> None:
        self.prompts = _unit(np.asarray(prompts, np.float32))
        self.neutral = _unit(np.asarray(neutral, np.float32))
        self.logit_scale = float(logit_scale)
        self.slopes, self.offsets = np.ones(len(self.prompts), np.float32), np.zeros(len(self.prompts), np.float32)
        self.calibrated = False
        self._shape = self.prompts.shape[1:]

    def _fit(self, data: TrainingData) -> None:
        X = np.concatenate([take(data.X, data.rows), take(data.X_val, data.rows_val)])
        labels = sparse.vstack([data.Y, data.Y_val], format="csr")
        known = LabelWeights.joined([data.weights, data.weights_val]).known()
        if labels.shape[1] != len(self.prompts):
            raise ValueError(f"Y has {labels.shape[1]} labels; expected {len(self.prompts)}, one per prompt.")
        slopes, offsets, _ = fit_scaling(
            np.ascontiguousarray(self._logits(X).T),
            sparse.csr_array(present(labels if known is None else labels.multiply(known)).T),
            method="platt",
            min_positives=0,
            deviations=_DEVIATIONS,
            known=None if known is None else np.ascontiguousarray(known.T),
        )
        self.slopes, self.offsets = slopes.astype(np.float32), offsets.astype(np.float32)
        self.calibrated = True

    def _predict(self, X: np.ndarray) -> np.ndarray:
        logits = self.slopes * self._logits(X) + self.offsets
        probabilities: np.ndarray = expit(logits).astype(np.float32)
        return probabilities

    def _logits(self, X: np.ndarray) -> np.ndarray:
        logits: np.ndarray = self.logit_scale * (_unit(X) @ (self.prompts - self.neutral).T)
        return logits

    def _saved_options(self) -> dict[str, Any]:
        return {"logit_scale": self.logit_scale}

    @classmethod
    def _create(cls, content: dict[str, Any], arrays: dict[str, np.ndarray], device: str) -> Self:
        options = content.get("options", content)  # eno 0.1 wrote no options
        return cls(prompts=arrays["prompts"], neutral=arrays["neutral"], logit_scale=options["logit_scale"])

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        arrays = {name: getattr(self, name) for name in ("prompts", "neutral", "slopes", "offsets")}
        return {"calibrated": self.calibrated}, arrays

    def _restore(self, content: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        self.calibrated, self.offsets = bool(content["calibrated"]), arrays["offsets"]
        # eno 0.1 had one slope for all tags.
        self.slopes = arrays["slopes"] if "slopes" in arrays else np.full_like(self.offsets, content["slope"])


def _unit(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit: np.ndarray = vectors / np.maximum(lengths, 1e-12)
    return unit
