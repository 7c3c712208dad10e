"""How fast a library is scanned, against a plain loop, in one run.

The loop walks, then opens each file with mutagen and libsndfile.

Run it with nothing else on the machine: ``python -m scripts.bench.scan [--files N]``.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import tempfile
import time
from pathlib import Path

import mutagen
import numpy as np
import soundfile

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


def main() -> None:
    """Scan, scan again, and scan plainly; print files per second and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=5000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root, table = Path(folder, "audio"), Path(folder, "tracks.parquet")
        make_library(root, arguments.files)
        plain_scan(root)  # so that both find the files in memory
        print(f"{arguments.files} files")
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
