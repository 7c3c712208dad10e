"""Peak memory of everything that decodes files, for files of 20 minutes, an hour and four hours.

    python -m scripts.bench.long_files [--minutes 20 60 240] [--formats flac mka] [--folder FOLDER]

Each operation runs in a process of its own. The memory is what it takes besides what is imported, in MiB. FLAC has an
index for libsndfile; Matroska is decoded by FFmpeg from the start.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import soundfile

from eno.audio.track_decoding import TrackRequest, decode_track
from eno.audio.windows import WindowPolicy
from eno.cnn.feature_files import prepare_features
from eno.data.labels.encoder import LabelEncoder
from eno.data.layout import DataRoot
from eno.data.library.packets import packet_hash
from eno.data.library.scanning import scan
from eno.data.lute.albums import ALBUM_SCHEMA
from eno.data.splits.artist_split import SPLIT_SCHEMA
from eno.data.splits.stratify import SPLITS
from eno.data.tables import write_table
from eno.duplicates.quality import read_quality
from eno.duplicates.recordings import Recording
from eno.exploration.track_picture import choose_track
from eno.files import AudioRoots
from eno.inference.predictor import EnoPredictor
from eno.models import IdentityHead
from eno.similarity.query_audio import encode_audio
from eno.spec import EncoderSpec

RATE = 44_100
EVERY = WindowPolicy(hop_s=10)


def write_long(path: Path, minutes: int) -> Path:
    """Write a stereo file of a melody and noise, which repeats every minute."""
    times = np.arange(60 * RATE) / RATE
    noise = 0.01 * np.random.default_rng(0).standard_normal((len(times), 2))
    tone = 0.3 * np.sin(2 * np.pi * 110 * 2 ** (np.floor(times * 2) % 12 / 12) * times)
    minute = (tone[:, None] + noise).astype(np.float32)
    flac = path.with_suffix(".flac")
    if not flac.is_file():
        with soundfile.SoundFile(flac, "w", RATE, 2, "PCM_16") as file:
            for _ in range(minutes):
                file.write(minute)
    if path != flac and not path.is_file():
        with av.open(str(flac)) as source, av.open(str(path), "w", format="matroska") as target:
            stream = target.add_stream_from_template(source.streams.audio[0])
            for packet in source.demux(source.streams.audio[0]):
                if packet.size:
                    packet.stream = stream
                    target.mux(packet)
    return path


class Loudness:
    """Levels of parts of a window, which is as long as CLAP's: an encoder that takes no memory itself."""

    spec = EncoderSpec(
        name="loudness", options={}, revision="1", weights_sha256="", sample_rate=48_000, window_samples=480_000,
        layers=("levels",), pooling="none", dim=32,
    )  # fmt: skip

    def encode(self, windows: np.ndarray) -> np.ndarray:
        """Return the levels [shape=(n, 1, 32)]."""
        return np.stack([np.square(one.reshape(32, -1)).mean(axis=1) for one in windows])[:, None]


def _windows(policy: WindowPolicy) -> Callable[[Path], object]:
    def work(path: Path) -> int:
        request = TrackRequest(str(path), None)
        return sum(1 for _ in decode_track(Loudness().spec, policy, request))

    return work


def _tagger(policy: WindowPolicy) -> EnoPredictor:
    encoder = Loudness()
    return EnoPredictor(
        encoder, IdentityHead(), LabelEncoder([str(i) for i in range(encoder.spec.dim)], []), policy=policy
    )


def _features(path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = DataRoot(Path(folder))
        for split in SPLITS:
            table = pa.Table.from_pylist([{"track_id": path.name}] * (split == "train"), schema=SPLIT_SCHEMA)
            write_table(root.splits / f"{split}.parquet", table)
        found = prepare_features(root, num_workers=0, audio_roots=path.parent)
        assert not found.failures, found.failures


def _scan(path: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        roots = AudioRoots((path.parent,), files=(path,))
        assert not scan(roots, Path(folder) / "tracks.parquet", workers=0).problems


def _picture(path: Path) -> None:
    tracks = pa.table({"track_id": [path.name], "problem": pa.array([None], pa.string())})
    found, problem = choose_track(AudioRoots((path.parent,)), tracks, None, ALBUM_SCHEMA.empty_table(), None)
    assert found, problem


def _duplicates(path: Path) -> None:
    Recording.read(path)
    read_quality(path, sounding_s=1.0)


WORK: dict[str, Callable[[Path], object]] = {
    "scan": _scan,
    "scan --hash": packet_hash,
    "embed, 8 windows": _windows(WindowPolicy()),
    "embed, a window every 10 s": _windows(EVERY),
    "tag, 8 windows": lambda path: _tagger(WindowPolicy()).embed(path),
    "tag, a window every 10 s": lambda path: _tagger(EVERY).embed(path),
    "tag many, a window every 10 s": lambda path: list(_tagger(EVERY).predict_many([path] * 2, threads=2)),
    "similar, a window every 10 s": lambda path: encode_audio(path, Loudness(), EVERY),
    "features of the CNN": _features,
    "duplicates": _duplicates,
    "explore": _picture,
}


def _memory(name: str) -> float:
    """Return a value of this process in MiB: VmRSS, or VmHWM, the peak since it was last reset. Linux has them."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(name))


def _measure(name: str, path: Path, results: multiprocessing.Queue[tuple[float, float]]) -> None:
    WORK[name](path.with_name("warm.flac"))  # imports, and thread pools of NumPy and PyTorch
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before, began = _memory("VmRSS"), time.perf_counter()
    WORK[name](path)
    results.put((_memory("VmHWM") - before, time.perf_counter() - began))


def main() -> None:
    """Measure all operations."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=int, nargs="+", default=[20, 60, 240])
    parser.add_argument("--formats", nargs="+", default=["flac", "mka"], choices=["flac", "mka"])
    parser.add_argument("--only", nargs="+", default=list(WORK), choices=list(WORK), metavar="OPERATION")
    parser.add_argument("--folder", type=Path, help="keep the files there")
    options = parser.parse_args()
    processes = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        write_long(folder / "warm.flac", 1)
        for suffix in options.formats:
            paths = [write_long(folder / f"{minutes}.{suffix}", minutes) for minutes in options.minutes]
            print(f"{suffix:<30}" + "".join(f"{minutes:>9} min      " for minutes in options.minutes))
            for name in options.only:
                cells = []
                for path in paths:
                    results = processes.Queue()
                    process = processes.Process(target=_measure, args=(name, path, results))
                    process.start()
                    process.join()
                    cells.append("{:>7.0f} MiB {:>5.1f} s".format(*results.get(timeout=10)))
                print(f"{name:<30}" + "".join(f"{cell:>19}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
