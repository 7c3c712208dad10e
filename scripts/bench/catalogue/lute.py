"""How fast eno imports albums, against pandas, in one run; and how much memory each takes.

Run it with nothing else on the machine: ``python -m scripts.bench.catalogue.lute [--albums N]``.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from scripts.bench.catalogue.catalogue_data import albums


def import_with_eno(source: Path, destination: Path) -> None:
    """The way of `eno import lute`."""
    from eno.data.lute.importing import import_lute

    import_lute(source, destination)


def import_with_pandas(source: Path, destination: Path) -> None:
    """The obvious way: no checks, no cleaning, no duplicates."""
    import pandas as pd

    pd.read_json(source, lines=True).to_parquet(destination)


WAYS = {"eno": import_with_eno, "pandas": import_with_pandas}


def measure(way: str, source: Path, destination: Path) -> tuple[float, float]:
    """Run one way in a process of its own; seconds without start-up, and MiB at the peak."""
    command = [sys.executable, "-m", "scripts.bench.catalogue.lute", "--way", way, str(source), str(destination)]
    seconds, mebibytes = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return float(seconds), float(mebibytes)


def main() -> None:
    """Make the albums, run both ways and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--albums", type=int, default=300_000)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("paths", nargs="*", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        began = time.perf_counter()
        WAYS[arguments.way](*arguments.paths)
        print(time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        return
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "lute.jsonl")
        with source.open("w", encoding="utf-8") as file:
            for album in albums(arguments.albums):
                file.write(json.dumps(album) + "\n")
        print(f"{arguments.albums} albums, {source.stat().st_size / 1e6:.0f} MB of JSON lines")
        results = {way: measure(way, source, Path(folder, f"{way}.parquet")) for way in WAYS}
        for way, (seconds, mebibytes) in results.items():
            size = Path(folder, f"{way}.parquet").stat().st_size / 1e6
            rate = arguments.albums / seconds
            print(
                f"{way:<6} {seconds:6.1f} s, {rate:6.0f} albums/s, peak {mebibytes:.0f} MiB, {size:.0f} MB of Parquet"
            )
        print(f"eno is {results['pandas'][0] / results['eno'][0]:.1f} times as fast")


if __name__ == "__main__":
    main()
