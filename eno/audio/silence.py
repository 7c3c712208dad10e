"""What counts as silence: windows without sound are not encoded, so they affect neither tags nor neighbours."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from pathlib import Path

import numpy as np

from eno.errors import AudioError

_LEVEL = 1e-4  # RMS: -80 dB of full scale, above the dither of 16 bits and the noise of lossy codecs in silence
_FRAME_S, _LEAST_FRAMES = 0.05, 3  # a click falls into one or two frames


def has_sound(window: np.ndarray, sample_rate: int) -> bool:
    """Return whether a mono window is louder than -80 dB in at least three frames of 50 ms, apart from an offset."""
    frame = max(1, round(_FRAME_S * sample_rate))
    frames = window[: len(window) // frame * frame].reshape(-1, frame)
    return bool(np.count_nonzero(frames.std(axis=1) > _LEVEL) >= _LEAST_FRAMES)


def sounding(
    path: Path | str, windows: Iterable[np.ndarray], sample_rate: int
) -> Generator[np.ndarray, None, np.ndarray]:
    """Yield the windows of a track that have sound; return which they are [shape=(n,), dtype=bool].

    Raises AudioError after the last window if none has sound.
    """
    heard = []
    for window in windows:
        heard.append(has_sound(window, sample_rate))
        if heard[-1]:
            yield window
    require_sound(path, heard)
    return np.array(heard)


def require_sound(path: Path | str, heard: Sequence[bool]) -> None:
    """Raise AudioError if no window of a track has sound."""
    if not any(heard):
        read = "its window is" if len(heard) == 1 else f"its {len(heard)} windows are"
        raise AudioError(path, f"{read} silent, and silence has no tags and no neighbours")
