"""Time to tag a clip of 30 s: in a running process, in a new process, and among many others.

    python -m scripts.bench.predict [--model FOLDER] [--files 40]

Uses musicnn's own tagger by default. Run it on an otherwise idle machine.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import torch

from eno import EnoPredictor

CLIP_S, RATE = 30, 44_100
KINDS = {".flac": "PCM_16", ".mp3": "MPEG_LAYER_III", ".ogg": "VORBIS"}


def clip(path: Path, seed: int = 0) -> Path:
    """Write a clip of a glide and noise, in blocks, because libvorbis crashes on long ones."""
    times = np.arange(CLIP_S * RATE) / RATE
    noise = 0.05 * np.random.default_rng(seed).standard_normal((len(times), 2))
    samples = (0.3 * np.sin(2 * np.pi * (110 + 20 * times) * times)[:, None] + noise).astype(np.float32)
    with soundfile.SoundFile(path, "w", RATE, 2, KINDS[path.suffix]) as file:
        for start in range(0, len(samples), RATE):
            file.write(samples[start : start + RATE])
    return path


def timed(work: Callable[[], object], repeats: int) -> np.ndarray:
    """Return the seconds of each run, after one run to warm up."""
    work()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return np.array(times)


def bench_cold(path: Path, model: Path | None, repeats: int) -> None:
    """Time the command in a new process."""
    command = [sys.executable, "-m", "eno", "tag", str(path), *(["--model", str(model)] if model else [])]
    times = timed(lambda: subprocess.run(command, check=True, capture_output=True), repeats)
    print(f"eno tag in a new process: median {np.median(times):.2f} s, slowest {times.max():.2f} s of {repeats}")


def bench_warm(predictor: EnoPredictor, paths: list[Path], repeats: int) -> None:
    """Time one clip of each format in this process."""
    for path in paths:
        times = timed(lambda path=path: predictor.predict(path), repeats)
        middle, high = np.percentile(times, [50, 95])
        print(f"predict, {path.suffix} of {CLIP_S} s: median {middle:.3f} s, 95 % below {high:.3f} s of {repeats}")


def bench_many(predictor: EnoPredictor, paths: list[Path]) -> None:
    """Compare the throughput of predict_many and predict."""
    alone = timed(lambda: [predictor.predict(path) for path in paths], 1)[0]
    together = timed(lambda: list(predictor.predict_many(paths)), 1)[0]
    print(
        f"{len(paths)} clips: predict {len(paths) / alone:.1f}, predict_many {len(paths) / together:.1f} per second, "
        f"{alone / together:.2f} times as fast"
    )


def main() -> None:
    """Run all benchmarks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="folder of a predictor [default: musicnn's own tagger]")
    parser.add_argument("--files", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=20)
    chosen = parser.parse_args()
    print(f"{torch.get_num_threads()} threads, PyTorch {torch.__version__}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        kinds = [clip(folder / f"clip{suffix}") for suffix in KINDS]
        many = [clip(folder / f"{seed}.mp3", seed) for seed in range(chosen.files)]
        bench_cold(kinds[0], chosen.model, max(1, chosen.repeats // 4))
        predictor = EnoPredictor.from_pretrained(chosen.model) if chosen.model else EnoPredictor.musicnn()
        bench_warm(predictor, kinds, chosen.repeats)
        bench_many(predictor, many)


if __name__ == "__main__":
    main()
