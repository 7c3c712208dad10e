"""Encoders that also embed text, and a check that their text tower works."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from eno.encoders import Encoder
from eno.errors import WeightsError

MAX_MEAN_COSINE = 0.9
"""Between texts of different meaning; working checkpoints have 0.2 to 0.3."""

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
    """An encoder that embeds audio and text in a joint space.

    Attributes
    ----------
    logit_scale : float
        Factor by which cosine similarities were multiplied in training.
    """

    logit_scale: float

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        """Embed texts as unit vectors [shape=(n, dim), dtype=float32]."""


def encode_in_batches(texts: Sequence[str], encode: Callable[[list[str]], np.ndarray], dim: int) -> np.ndarray:
    """Encode texts in batches of 64 into one array [shape=(n, dim)]."""
    vectors = [encode(list(texts[first : first + _BATCH])) for first in range(0, len(texts), _BATCH)]
    return np.concatenate(vectors) if vectors else np.zeros((0, dim), np.float32)


def check_text_tower(encoder: TextEncoder, model: str) -> None:
    """Refuse a checkpoint whose text tower has collapsed.

    Parameters
    ----------
    model : str
        Name of the checkpoint, for the message.

    Raises
    ------
    WeightsError
        Texts of different meaning have nearly the same vector.
    """
    vectors = encoder.encode_text(_PROMPTS)
    cosines = (vectors @ vectors.T)[np.triu_indices(len(vectors), k=1)]
    if not cosines.mean() <= MAX_MEAN_COSINE:
        raise WeightsError(
            f"{model}: the text tower has collapsed. Unrelated texts have a mean cosine similarity of "
            f"{cosines.mean():.3f}; working checkpoints have 0.2 to 0.3. Use laion/larger_clap_general or "
            "laion/clap-htsat-unfused, or convert laion_clap's music_audioset_epoch_15_esc_90.14.pt with "
            "'eno weights convert-laion'. For audio alone, output = 'pooled' still works."
        )
