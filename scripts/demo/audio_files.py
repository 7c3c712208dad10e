"""Write audio files in the formats of a music collection."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import soundfile as sf
from numpy.typing import NDArray


def write_audio(path: Path, audio: NDArray[np.float32], rate: int, *, suffix: str, kbps: int | None = None) -> None:
    """Write audio [shape=(samples, channels)] in the format of a suffix: .mp3, .ogg, .opus or .flac.

    `path` may have any name. Opus needs a rate of 48,000 Hz; `kbps` is the constant bit rate of MP3, by default 128.
    """
    if suffix == ".mp3":
        _write_mp3(path, audio, rate, kbps or 128)
        return
    container, coding = {".ogg": ("OGG", "VORBIS"), ".opus": ("OGG", "OPUS"), ".flac": ("FLAC", "PCM_16")}[suffix]
    with sf.SoundFile(path, "w", rate, audio.shape[1], coding, format=container) as file:
        # libsndfile's Vorbis encoder crashes on a minute of audio in one call.
        for start in range(0, len(audio), rate):
            file.write(audio[start : start + rate])


def _write_mp3(path: Path, audio: NDArray[np.float32], rate: int, kbps: int) -> None:
    layout = "mono" if audio.shape[1] == 1 else "stereo"
    with av.open(str(path), "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=rate)
        stream.layout = layout
        stream.bit_rate = kbps * 1000
        for start in range(0, len(audio), rate):
            planar = np.ascontiguousarray(audio[start : start + rate].T)
            frame = av.AudioFrame.from_ndarray(planar, format="fltp", layout=layout)
            frame.sample_rate, frame.pts = rate, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
