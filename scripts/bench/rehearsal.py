"""The commands that a user of a large collection runs, on a made-up one: time, CPU and peak memory of each.

    python -m scripts.bench.rehearsal --tracks 300000 --listed 300000 --labels 1049
    python -m scripts.bench.rehearsal --tracks 300000 --folder made/ --only "tag, JSON Lines" "similar"
    python -m scripts.bench.rehearsal --tracks 300000 --folder made/ --only --heads auto mlp lightgbm
    python -m scripts.bench.rehearsal --tracks 300000 --out scripts/bench/rehearsal.json

`made_collection` describes the collection. There is no audio, so `eno scan` and `eno embed` have their own benchmarks
(`scan.py`, `embed.py`); their tables are written directly. On the second day one album in a hundred gets another label,
and one track in a hundred is new; the tracks that moved to another split are counted.
With ``--folder`` the collection is kept there, and used again. ``--out`` adds the results to a file, from which
``scripts/plan.py`` takes its rates.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eno.cores import usable_cores
from eno.data.layout import DataRoot
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.files import write_json
from eno.training.collection import split_ids
from scripts.bench.made_collection import Size, arrive, make, relabel
from scripts.bench.serve import Service

# In a small process of its own, because the peak memory of a new process begins with that of its parent.
_MEASURE = """
import json, resource, subprocess, sys, time
began = time.perf_counter()
status = subprocess.call(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_CHILDREN)
found = {"seconds": time.perf_counter() - began, "cpu": used.ru_utime + used.ru_stime, "mib": used.ru_maxrss / 1024}
json.dump(found | {"status": status}, open("usage.json", "w"))
"""
_RELABELLED = 0.01  # share of the albums
_TRACK = "<track>"  # stands for the id of a track
_SERVE = "serve"
_LINEAR = "train, linear"
_REST_S = 5.0  # after which the service has given back what it had read
_MIB = 1000 / 1024  # `Service` counts thousands of KiB

COMMANDS: dict[str, tuple[str, ...]] = {
    "import": ("import", "lute"),
    "match": ("match",),
    "labels": ("labels",),
    "split": ("split",),
    "explore": ("explore",),
    _LINEAR: ("train", "--head", "linear"),
    "evaluate": ("evaluate",),
    "tag, JSON Lines": ("tag", "--store", "store", "--json"),
    "tag, Parquet": ("tag", "--store", "store", "--format", "parquet", "--out", "tags.parquet"),
    "tag, albums": ("tag", "--store", "store", "--json", "--album"),
    "index": ("index", "build"),
    "similar, the first time": ("similar", _TRACK),
    "similar": ("similar", _TRACK),
    "similar, with a filter": ("similar", _TRACK, "--where", "year >= 1990 and duration_s > 120"),
    "map": ("map",),
    _SERVE: ("serve", "--layout", "pca"),
    "import, day two": ("import", "lute"),
    "match, day two": ("match",),
    "labels, day two": ("labels",),
    "split, day two": ("split",),
    "retrain": ("retrain",),
}


@dataclass(frozen=True)
class Usage:
    """What a command took.

    Memory is that of its largest process at its peak, with the pages of mapped files that it has read; that of the
    service is the sum over its processes, with pages that they share counted once.
    """

    seconds: float
    cpu: float
    mib: float


class Failed(Exception):
    """A command failed; the message is the end of its output."""


def run(folder: Path, arguments: tuple[str, ...]) -> Usage:
    """Run a command of eno in a folder."""
    words = [sys.executable, "-c", _MEASURE, sys.executable, "-m", "eno", *arguments]
    with (folder / "output.txt").open("wb") as output:
        subprocess.run(words, cwd=folder, stdout=output, stderr=subprocess.STDOUT, check=True)
    found = json.loads((folder / "usage.json").read_text())
    if found.pop("status"):
        raise Failed((folder / "output.txt").read_text(errors="replace")[-2000:])
    return Usage(**found)


def said(folder: Path) -> list[str]:
    """Return the lines that the last command printed."""
    return (folder / "output.txt").read_text(errors="replace").splitlines()


def _splits(folder: Path) -> dict[str, str]:
    table = split_ids(DataRoot(folder).splits)
    return dict(zip(table["track_id"].to_pylist(), table["split"].to_pylist(), strict=True))


def chosen_commands(only: Sequence[str] | None, heads: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return all commands, or some of them by name, and the training of further heads after that of the linear one."""
    found: dict[str, tuple[str, ...]] = {}
    for name, command in COMMANDS.items():
        if only is None or name in only:
            found[name] = command
        if name == _LINEAR:
            found |= {f"train, {head}": ("train", "--head", head, "--model", f"model-{head}") for head in heads}
    return found


def serve(folder: Path, track: str, report: Callable[[str, Usage], None]) -> None:
    """Start the service, ask it for the map and for similar tracks, and report both and the service itself."""
    service = Service(folder / "model", folder / "store", folder)
    try:
        report("serve, until it answers", Usage(service.start_s, service.cpu_s(), service.peak_mb * _MIB))
        began, cpu = time.perf_counter(), service.cpu_s()
        status, _ = service.ask(service.connect(), "GET", "/v1/map")
        if status != 200:
            raise Failed(f"the map: status {status}")
        took = time.perf_counter() - began
        report("serve, map", Usage(took, service.cpu_s() - cpu, service.peak_mb * _MIB))
        address = f"http://127.0.0.1:{service.port}"
        report("similar --serve-url", run(folder, ("similar", track, "--serve-url", address)))
        report("serve, at its peak", Usage(0.0, 0.0, service.peak_mb * _MIB))
        time.sleep(_REST_S)
        report("serve, at rest", Usage(0.0, 0.0, service.memory_mb() * _MIB))
    finally:
        service.stop()


def rehearse(folder: Path, chosen: Mapping[str, tuple[str, ...]], seed: int) -> dict[str, Usage]:
    """Run commands in the folder of a collection, and print a row about each."""
    track = EmbeddingStore.open(folder / "store").track_ids()[0]
    used: dict[str, Usage] = {}

    def report(name: str, one: Usage) -> None:
        used[name] = one
        print(f"{name:<24}{one.seconds:>9.1f}{one.cpu:>9.1f}{one.mib:>8.0f}", flush=True)

    print(f"load {os.getloadavg()[0]:.1f}\n{'command':<24}{'seconds':>9}{'CPU':>9}{'MiB':>8}")
    for name, command in chosen.items():
        if name == "index":  # of an earlier run
            shutil.rmtree(folder / "store" / "index", ignore_errors=True)
        if name == "import, day two":
            edited, new = relabel(folder, _RELABELLED, seed), arrive(folder, seed)
            print(f"day two: {edited:,} albums have another label, {new:,} tracks are new")
        before = _splits(folder) if name == "split, day two" else {}
        try:
            if name == _SERVE:
                serve(folder, track, report)
            else:
                report(name, run(folder, tuple(track if word == _TRACK else word for word in command)))
        except (Failed, OSError) as error:
            print(f"{name:<24}  failed\n{error}", flush=True)
            continue
        if before:
            now = _splits(folder)
            moved = sum(now.get(track_id) not in (None, split) for track_id, split in before.items())
            print(f"  {len(now.keys() - before.keys()):,} tracks are new in the splits, {moved:,} of the others moved")
        if name == "retrain":
            print("".join(f"  {line}\n" for line in said(folder) if " mAP " in line), end="", flush=True)
    return used


def add_results(path: Path, size: Size, used: Mapping[str, Usage]) -> None:
    """Add a run to a file of runs, in place of one of the same size."""
    runs: list[dict[str, Any]] = json.loads(path.read_text())["runs"] if path.is_file() else []
    rounded = {name: {key: round(value, 1) for key, value in asdict(one).items()} for name, one in used.items()}
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    about = {"date": datetime.now(UTC).date().isoformat(), "cores": usable_cores(), "memory_gib": round(memory),
             "processor": platform.machine(), "size": asdict(size)}  # fmt: skip
    runs = [one for one in runs if one["size"] != asdict(size)]
    write_json(path, {"runs": sorted([*runs, about | {"commands": rounded}], key=lambda one: one["size"]["tracks"])})


def main() -> None:
    """Make a collection, run the commands, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tracks", type=int, default=30_000)
    parser.add_argument("--listed", type=int, help="albums in Lute's database (default: as many as tracks)")
    parser.add_argument("--labels", type=int, default=300)
    parser.add_argument("--windows", type=int, default=8, help="windows per track")
    parser.add_argument("--dim", type=int, default=512, help="values of a window's vector")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="keep the collection here")
    parser.add_argument("--only", nargs="*", metavar="COMMAND", choices=COMMANDS, help=f"of: {', '.join(COMMANDS)}")
    parser.add_argument("--heads", nargs="*", default=[], metavar="HEAD", help="train these, too: knn, mlp, …")
    parser.add_argument("--out", type=Path, help="JSON file to add the results to")
    chosen = parser.parse_args()
    size = Size(chosen.tracks, chosen.listed or chosen.tracks, chosen.labels, chosen.windows, chosen.dim)
    with tempfile.TemporaryDirectory() as temporary:
        folder = (chosen.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "eno.toml").is_file():
            make(folder, size, chosen.seed)
        commands = chosen_commands(chosen.only, chosen.heads)
        used = rehearse(folder, commands, chosen.seed)
        if chosen.out is not None:
            add_results(chosen.out, size, used)
    if missing := commands.keys() - used.keys() - {_SERVE}:
        raise SystemExit(f"failed: {', '.join(sorted(missing))}")


if __name__ == "__main__":
    main()
