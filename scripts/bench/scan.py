"""How fast a library is scanned, against a plain loop, in one run; on request with the delay of a network.

The loop walks, then opens each file with mutagen and libsndfile. The delay is added to every stat and open of both.

Run it with nothing else on the machine: ``python scripts/bench/scan.py [--files N] [--delay-ms 2]``.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mutagen
import numpy as np
import soundfile

from eno.data.library import files as library
from eno.data.library import scanning as scan


def make_library(root: Path, files: int) -> None:
    """Copy three short files into folders of ten."""
    samples = 0.1 * np.random.default_rng(0).standard_normal((44_100 * 3, 2))
    kinds = []
    for suffix in (".flac", ".mp3", ".ogg"):
        path = root.with_name(f"kind{suffix}")
        soundfile.write(path, samples, 44_100)
        tags = mutagen.File(path, easy=True)
        if tags.tags is None:
            tags.add_tags()
        tags["artist"], tags["album"] = "Somebody", "Something"
        tags.save()
        kinds.append(path)
    for i in range(files):
        folder = root / f"album {i // 10}"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(kinds[i % 3], folder / f"{i:06}{kinds[i % 3].suffix}")


def plain_scan(root: Path) -> int:
    """The obvious way."""
    found = 0
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            os.stat(path)
            mutagen.File(path)
            soundfile.info(path)
            found += 1
    return found


def delayed(work: Callable[..., Any], delay_s: float) -> Callable[..., Any]:
    """Wait before each call, as a network does."""

    def call(*args: Any, **options: Any) -> Any:
        time.sleep(delay_s)
        return work(*args, **options)

    return call


def main() -> None:
    """Scan, scan again, and scan plainly; print files per second and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--delay-ms", type=float, default=0.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root, table = Path(folder, "audio"), Path(folder, "tracks.parquet")
        make_library(root, arguments.files)
        plain_scan(root)  # so that both find the files in memory
        if arguments.delay_ms:
            delay_s = arguments.delay_ms / 1000
            os.stat, os.scandir = delayed(os.stat, delay_s), delayed(os.scandir, delay_s)
            soundfile.SoundFile.__init__ = delayed(soundfile.SoundFile.__init__, delay_s)
            mutagen.File = delayed(mutagen.File, delay_s)
        print(f"{arguments.files} files, {arguments.delay_ms} ms of delay, {library.IO_THREADS} threads")
        times = {}
        for name, work in (
            ("scan", lambda: scan.scan(root, table)),
            ("scan again", lambda: scan.scan(root, table)),
            ("plain loop", lambda: plain_scan(root)),
        ):
            began = time.perf_counter()
            work()
            times[name] = time.perf_counter() - began
            print(f"{name:<11} {times[name]:6.2f} s, {arguments.files / times[name]:6.0f} files/s")
        first, again = (times["plain loop"] / times[name] for name in ("scan", "scan again"))
        print(f"{first:.1f} and {again:.0f} times as fast")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
