"""Encoders that take text too, and whether they are fit for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from eno.encoders import Encoder
from eno.errors import WeightsError

MAX_MEAN_COSINE = 0.9
"""Of texts that mean different things; healthy checkpoints have 0.2 to 0.3."""

_BATCH = 64
_PROMPTS = (
    "This audio is a heavy metal song.",
    "This audio is a jazz standard.",
    "solo piano, slow and sad",
    "a crowd cheering in a stadium",
    "aggressive techno with a distorted kick drum",
    "a mother singing a lullaby",
    "birds at dawn",
    "bossa nova guitar",
)


@runtime_checkable
class TextEncoder(Encoder, Protocol):
    """An encoder whose vectors share their space with texts.

    Attributes
    ----------
    logit_scale : float
        What cosines were multiplied with in training.
    """

    logit_scale: float

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        """Put texts into the space of the audio: (n, dim) float32, of length 1."""


def encode_in_batches(texts: Sequence[str], encode: Callable[[list[str]], np.ndarray], dim: int) -> np.ndarray:
    """Encode any number of texts, some at a time: (n, dim)."""
    vectors = [encode(list(texts[first : first + _BATCH])) for first in range(0, len(texts), _BATCH)]
    return np.concatenate(vectors) if vectors else np.zeros((0, dim), np.float32)


def check_text_tower(encoder: TextEncoder, model: str) -> None:
    """Refuse a checkpoint whose text tower has collapsed.

    Parameters
    ----------
    encoder : TextEncoder
        Its encoder.
    model : str
        Its name, for the message.

    Raises
    ------
    WeightsError
        Texts that mean different things get nearly the same vector.
    """
    vectors = encoder.encode_text(_PROMPTS)
    cosines = (vectors @ vectors.T)[np.triu_indices(len(vectors), k=1)]
    if not cosines.mean() <= MAX_MEAN_COSINE:
        raise WeightsError(
            f"{model}: its text tower has collapsed: texts that mean different things have a mean cosine of "
            f"{cosines.mean():.3f} (healthy checkpoints have 0.2 to 0.3). Use laion/larger_clap_general or "
            "laion/clap-htsat-unfused, or convert laion_clap's music_audioset_epoch_15_esc_90.14.pt with "
            "'eno weights convert-laion'. For audio alone, output = 'pooled' still works."
        )
