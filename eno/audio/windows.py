"""Which parts of a track are listened to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eno.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class WindowPolicy:
    """Which windows of a track are listened to.

    Attributes
    ----------
    count : int
        So many windows, spread evenly from the start of the track to its end.
    hop_s : float, optional
        A window every so many seconds instead; `count` then does not matter.

    Notes
    -----
    The first window begins with the track and the last one ends with it; a single window lies in the middle. Nothing
    is drawn at random.
    """

    count: int = 8
    hop_s: float | None = None

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ConfigError(f"count of windows is {self.count}; it must be at least 1.")
        if self.hop_s is not None and not self.hop_s > 0:
            raise ConfigError(f"hop_s is {self.hop_s}; it must be above 0 seconds.")

    def starts(self, samples: int, window_samples: int, sample_rate: int) -> np.ndarray:
        """Place the windows.

        Parameters
        ----------
        samples, window_samples : int
            Length of the track and of one window.
        sample_rate : int
            Samples per second, for `hop_s`.

        Returns
        -------
        np.ndarray [shape=(n,), dtype=int64]
            First samples, ascending and distinct; a track shorter than a window has the one start 0.

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
        steps = np.arange(0, last + 1, max(1, round(self.hop_s * sample_rate)), dtype=np.int64)
        return np.union1d(steps, [last])


def even_starts(length: int, window: int, count: int) -> np.ndarray:
    """Spread `count` windows evenly over a track; in a short track some of them coincide [dtype=int64]."""
    last = max(0, length - window)
    spread = np.linspace(0, last, count) if count > 1 else np.array([last / 2])
    return np.round(spread).astype(np.int64)


def fill_window(samples: np.ndarray, window_samples: int, padding: str) -> np.ndarray:
    """Make audio that is shorter than a window as long as one.

    Parameters
    ----------
    samples : np.ndarray [shape=(..., n)]
        The audio.
    window_samples : int
        Length of a window, at least `n`.
    padding : {"repeat", "repeatpad"}
        See `eno.spec.EncoderSpec`.

    Returns
    -------
    np.ndarray [shape=(..., window_samples)]
        The audio again and again.

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
