"""Which windows of a track are used, and how short tracks fill one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eno.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class WindowPolicy:
    """Which windows of a track are used: `count` spread evenly from start to end, or one every `hop_s` seconds.

    A single window is in the middle. If `hop_s` is not None, `count` is ignored.
    """

    count: int = 8
    hop_s: float | None = None

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ConfigError(f"The count of windows is {self.count}; it must be at least 1.")
        if self.hop_s is not None and not self.hop_s > 0:
            raise ConfigError(f"hop_s is {self.hop_s}; it must be above 0 seconds.")

    def same_windows(self, other: WindowPolicy, sample_rate: int) -> bool:
        """Return whether both policies result in the same windows of every track."""
        if self.hop_s is None or other.hop_s is None:
            return self == other
        return _hop(self.hop_s, sample_rate) == _hop(other.hop_s, sample_rate)

    def __str__(self) -> str:
        return f"every {self.hop_s:g} s" if self.hop_s else f"{self.count} per track"

    def starts(self, samples: int, window_samples: int, sample_rate: int) -> np.ndarray:
        """Return the first sample of each window [shape=(n,), dtype=int64]; a track shorter than a window has one.

        Examples
        --------
        >>> WindowPolicy(count=3).starts(100, 20, 1)
        array([ 0, 40, 80])
        >>> WindowPolicy(hop_s=30).starts(100, 20, 1)
        array([ 0, 30, 60, 80])
        """
        last = max(0, samples - window_samples)
        if self.hop_s is None:
            return np.unique(even_starts(samples, window_samples, self.count))
        steps = np.arange(0, last + 1, _hop(self.hop_s, sample_rate), dtype=np.int64)
        return np.union1d(steps, [last])


def _hop(hop_s: float, sample_rate: int) -> int:
    return max(1, round(hop_s * sample_rate))


def even_starts(length: int, window: int, count: int) -> np.ndarray:
    """Spread windows evenly over a track [shape=(count,), dtype=int64]; in a short track some coincide."""
    last = max(0, length - window)
    spread = np.linspace(0, last, count) if count > 1 else np.array([last / 2])
    return np.round(spread).astype(np.int64)


def fill_window(samples: np.ndarray, window_samples: int, padding: str) -> np.ndarray:
    """Repeat audio [shape=(..., n)] that is shorter than a window; `padding` is that of `eno.spec.EncoderSpec`.

    Examples
    --------
    >>> fill_window(np.array([1, 2, 3]), 8, "repeat")
    array([1, 2, 3, 1, 2, 3, 1, 2])
    >>> fill_window(np.array([1, 2, 3]), 8, "repeatpad")
    array([1, 2, 3, 1, 2, 3, 0, 0])
    """
    length = samples.shape[-1]
    if padding == "repeat":
        return np.tile(samples, -(-window_samples // length))[..., :window_samples]
    whole = np.tile(samples, window_samples // length)
    return np.pad(whole, [(0, 0)] * (samples.ndim - 1) + [(0, window_samples - whole.shape[-1])])
