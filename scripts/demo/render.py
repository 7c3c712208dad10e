"""Render timed notes to audio files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
from numpy.typing import NDArray
from scipy.signal import oaconvolve

from eno.errors import EnoError
from eno.files import replace_file
from scripts.demo.audio_files import write_audio
from scripts.demo.instruments import Rendering
from scripts.demo.performance import Performance

SAMPLE_RATE = 44_100
SYNTHESIS_RATE = 2 * SAMPLE_RATE
"""symusic rounds loops to whole samples: at 44.1 kHz high notes are up to 47 cents off, at this rate up to 23."""

PEAK = 10 ** (-3 / 20)
FADE_S = 0.4
WET = 0.35
TICKS_PER_S = 1920


@dataclass(frozen=True)
class Job:
    """A track to render; `seed` determines its stereo position and its room."""

    path: Path
    performance: Performance
    rendering: Rendering
    duration_s: float
    seed: tuple[int, ...]


def render(job: Job, soundfont: Path) -> None:
    """Render a track to its file, atomically; see `scripts.demo.soundfont.move_root_keys` for the soundfont."""
    dry = synthesise(job.performance, job.rendering.program.number, soundfont)
    audio = _place(dry, job)
    length = round(job.duration_s * SAMPLE_RATE)
    audio = np.pad(audio, ((0, max(0, length - len(audio))), (0, 0)))[:length]
    fade = min(length, round(FADE_S * SAMPLE_RATE))
    audio[length - fade :] *= np.linspace(1, 0, fade, dtype=np.float32)[:, None]
    audio *= np.float32(PEAK) / np.abs(audio).max()
    with replace_file(job.path) as temporary:
        write_audio(temporary, audio, SAMPLE_RATE, suffix=job.rendering.suffix)


def synthesise(performance: Performance, program: int, soundfont: Path) -> NDArray[np.float32]:
    """Synthesise the notes with a General MIDI program, in mono at 44.1 kHz with arbitrary level."""
    import symusic

    track = symusic.Track(program=program)
    for onset_s, duration_s, pitch, velocity in performance.notes:
        start, length = round(onset_s * TICKS_PER_S), max(1, round(duration_s * TICKS_PER_S))
        track.notes.append(symusic.Note(start, length, int(pitch), int(velocity)))
    score = symusic.Score(TICKS_PER_S // 2)
    score.tempos.append(symusic.Tempo(0, 120))
    score.tracks.append(track)
    # A new synthesiser takes 10 ms; an old one would keep all its resampled samples in memory. With a path, symusic
    # does not download a soundfont of its own.
    rendered = np.asarray(symusic.Synthesizer(soundfont, SYNTHESIS_RATE).render(score, stereo=False))[0]
    mono: NDArray[np.float32] = soxr.resample(rendered, SYNTHESIS_RATE, SAMPLE_RATE)
    if not np.isfinite(mono).all() or np.abs(mono).max() < 1e-4:
        raise EnoError(f"The synthesiser failed on program {program}: the audio is silent or not finite.")
    return mono


def _place(dry: NDArray[np.float32], job: Job) -> NDArray[np.float32]:
    """Pan the audio and add reverberation [shape=(samples, channels)]."""
    rng = np.random.default_rng(job.seed)
    channels = job.rendering.channels
    pan = rng.uniform(-0.3, 0.3)
    gains = np.sqrt([1 - pan, 1 + pan] if channels == 2 else [1.0])
    audio = dry[:, None] * gains.astype(np.float32)
    samples = round(job.rendering.reverb_s * SAMPLE_RATE)
    if samples:
        decay = 10 ** (-3 * np.arange(samples) / samples)
        echo = rng.standard_normal((samples, channels)) * decay[:, None]
        echo *= WET / np.sqrt((echo**2).sum(axis=0))
        audio += oaconvolve(audio, echo.astype(np.float32), axes=0)[: len(audio)]
    return audio
