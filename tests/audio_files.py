"""Audio files of every kind, written as users' encoders write them."""

from pathlib import Path

import av
import numpy as np
import soundfile

# Name of the kind → file suffix, coding, options. FFmpeg's own AAC encoder is told not to replace noise by a note
# "noise here" (PNS), since decoders then draw random numbers.
FFMPEG = {
    "m4a": (".m4a", "aac", {"aac_pns": "0"}),
    "alac": (".m4a", "alac", {}),
    "aac": (".aac", "aac", {"aac_pns": "0"}),
    "wma": (".wma", "wmav2", {}),
    "wavpack": (".wv", "wavpack", {}),
    "webm": (".webm", "libopus", {}),
    "mp3-without-xing": (".mp3", "libmp3lame", {}),
}
SOUNDFILE = {
    "wav-u8": (".wav", "PCM_U8", None),
    "wav-16": (".wav", "PCM_16", None),
    "wav-24": (".wav", "PCM_24", None),
    "wav-float64": (".wav", "DOUBLE", None),
    "aiff": (".aiff", "PCM_16", None),
    "flac": (".flac", "PCM_24", None),
    "mp3": (".mp3", "MPEG_LAYER_III", None),
    "mp3-low": (".mp3", "MPEG_LAYER_III", 0.95),
    "ogg": (".ogg", "VORBIS", None),
    "ogg-low": (".ogg", "VORBIS", 0.95),
    "opus": (".opus", "OPUS", None),
}
KINDS = [*SOUNDFILE, *FFMPEG]


def music(duration_s: float, rate: int, channels: int = 2, seed: int = 0) -> np.ndarray:
    """A gliding tone, a steady one, and bursts of noise [shape=(frames, channels), dtype=float32].

    The bursts make Vorbis change its block size and MP3 save up bits: without them seeking is too easy.
    """
    t = np.arange(round(duration_s * rate)) / rate
    bursts = 0.02 + 0.3 * np.exp(-40 * (t % 0.37)) * (np.floor(t / 0.37) % 3 != 1)
    noise = bursts[:, None] * np.random.default_rng(seed).standard_normal((len(t), channels))
    glide = 0.3 * np.sin(2 * np.pi * (220 + 30 * t) * t)
    steady = 0.2 * np.sin(2 * np.pi * 330 * t)
    tones = np.stack([glide if channel % 2 == 0 else steady for channel in range(channels)], axis=1)
    return (tones + noise).astype(np.float32)


def write(folder: Path, kind: str, samples: np.ndarray, rate: int) -> Path:
    """Write `samples` as a file of that kind."""
    suffix = (SOUNDFILE.get(kind) or FFMPEG[kind])[0]
    path = folder / f"{kind}{suffix}"
    if kind in SOUNDFILE:
        container = "OGG" if suffix == ".opus" else None
        _, subtype, compression = SOUNDFILE[kind]
        options = {"format": container, "compression_level": compression}
        with soundfile.SoundFile(path, "w", rate, samples.shape[1], subtype, **options) as file:
            for start in range(0, len(samples), rate):  # libvorbis crashes on one long block
                file.write(samples[start : start + rate])
        return path
    _, codec, options = FFMPEG[kind]
    muxing = {"write_xing": "0"} if kind == "mp3-without-xing" else {}
    layout = "mono" if samples.shape[1] == 1 else "stereo"
    with av.open(str(path), "w", options=muxing) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.layout = layout
        stream.bit_rate = 128_000
        stream.options = options
        planar = np.ascontiguousarray(samples.T)
        step = 2048
        for start in range(0, planar.shape[1], step):
            block = np.ascontiguousarray(planar[:, start : start + step])
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
            frame.sample_rate, frame.pts = rate, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
