"""How long heads take to fit and to predict, how good they are, what memory they need: each in a process of its own.

Labels are noisy half-spaces of normal vectors, from common to rare. LightGBM is compared with scikit-learn's
``OneVsRestClassifier(LGBMClassifier())`` at its defaults on the same cores, in the same run:

    python scripts/bench/heads.py [--rows 20000] [--dim 512] [--labels 10] [--repeat 3]

``--repeat`` runs all of them so many times in turn and gives the medians. On a machine that does other things as well,
threads that wait for each other count as work: ``taskset -c 0`` in front compares one core with one core.

A large collection, 12 labels a row in a long tail; vectors lie in a memory-mapped file, labels are sparse:

    python scripts/bench/heads.py --rows 300000 --labels 1000 --heads mlp --long-tail
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse
from scipy.special import expit

from eno.models import HEADS, create_head
from eno.models.average_precision import macro_map
from eno.models.training_data import chunks

BASELINE = "OneVsRestClassifier(LGBMClassifier())"
SPLITS = ("train", "val", "test")
ROWS_HELD_OUT = 10_000  # of a large collection
LABELS_A_ROW = 12
MINUTES, GIB = 5, 6  # what the MLP may take for 300,000 rows of 512 and 1,000 labels on 2 cores
FEWEST = 60  # rows that the rarest label of a long tail is on, of 300,000


def make_problem(folder: Path, rows: int, dim: int, labels: int, *, long_tail: bool) -> None:
    """Write vectors and labels of all parts, piece by piece."""
    random = np.random.default_rng(0)
    directions = 3 * random.standard_normal((dim, labels)).astype(np.float32) / np.sqrt(dim)
    if long_tail:
        frequency = np.geomspace(1, 1e-3, labels)
        frequency = np.clip(frequency * LABELS_A_ROW / frequency.sum(), FEWEST / 300_000, 0.5)
        bias = _bias(frequency)
    else:
        bias = -np.linspace(0, 5, labels)
    held_out = ROWS_HELD_OUT if long_tail else rows // 4
    for name, count in zip(SPLITS, (rows, held_out, held_out), strict=True):
        X = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", np.float32, (count, dim))
        Y = []
        for at in chunks(count):
            X[at] = random.standard_normal((at.stop - at.start, dim), np.float32)
            chance = expit(X[at] @ directions + bias.astype(np.float32))
            Y.append(sparse.csr_array((random.random(chance.shape, np.float32) < chance).astype(np.float32)))
        X.flush()
        sparse.save_npz(folder / f"{name}.npz", sparse.vstack(Y, format="csr"))


def _bias(frequency: np.ndarray) -> np.ndarray:
    """What to add to logits with deviation 3, so that labels are as frequent as that."""
    logits = 3 * np.random.default_rng(1).standard_normal(20_000)
    low, high = np.full(len(frequency), -40.0), np.full(len(frequency), 40.0)
    for _ in range(40):
        middle = (low + high) / 2
        found = np.array([expit(logits + one).mean() for one in middle])
        low, high = np.where(found < frequency, middle, low), np.where(found < frequency, high, middle)
    return low


def measure(folder: Path, name: str, options: dict[str, Any]) -> dict[str, float]:
    """Fit and predict in this process."""
    X, X_val, X_test = (np.load(folder / f"{part}.npy", mmap_mode="r") for part in SPLITS)
    Y, Y_val, Y_test = (sparse.load_npz(folder / f"{part}.npz") for part in SPLITS)
    if name == BASELINE:
        # Imported where it is measured, so that other heads do not pay for its memory.
        from lightgbm import LGBMClassifier
        from sklearn.multiclass import OneVsRestClassifier

        warnings.filterwarnings("ignore", message="X does not have valid feature names")
        head: Any = OneVsRestClassifier(LGBMClassifier(verbosity=-1, n_jobs=len(os.sched_getaffinity(0))))
        fitting = (np.array(X), Y.toarray())
    else:
        head, fitting = create_head(name, **options), (X, Y, X_val, Y_val)
    peak = _Peak()
    began, worked = time.perf_counter(), time.process_time()
    head.fit(*fitting)
    fitted, worked = time.perf_counter(), time.process_time() - worked
    probabilities = head.predict_proba(X_test)
    done, memory, size = time.perf_counter(), peak.mib(), 0
    if name != BASELINE:
        head.save(folder / name)
        size = sum(path.stat().st_size for path in (folder / name).rglob("*") if path.is_file())
    quality = macro_map(Y_test.toarray(), probabilities)
    return {
        "fit_s": fitted - began,
        "cpu_s": worked,
        "predict_s": done - fitted,
        "macro_map": float("nan") if quality is None else quality,
        "peak_mib": memory,
        "size_mib": size / 2**20,
    }


class _Peak:
    """Memory of this process at its most, as Linux says; without mapped files, whose pages can be had back any time."""

    def __init__(self) -> None:
        self._most, self._over = 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._over.wait(0.02):
            status = Path("/proc/self/status").read_text().split()
            self._most = max(self._most, int(status[status.index("RssAnon:") + 1]))

    def mib(self) -> float:
        self._over.set()
        self._thread.join()
        return self._most / 1024


def in_own_process(folder: Path, name: str, options: dict[str, Any]) -> dict[str, float]:
    """Measure a head where nothing of another one is in memory."""
    command = [sys.executable, __file__, "--one", name, "--folder", str(folder), "--options", json.dumps(options)]
    ran = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    measured: dict[str, float] = json.loads(ran.stdout.splitlines()[-1])
    return measured


def show(results: dict[str, list[dict[str, float]]]) -> None:
    """Print a row for each head, of the medians."""
    medians = {
        name: {key: statistics.median(run[key] for run in runs) for key in runs[0]} for name, runs in results.items()
    }
    columns = (
        ("fit", 9),
        ("ratio", 7),
        ("CPU", 9),
        ("ratio", 7),
        ("mAP", 7),
        ("memory", 10),
        ("predict", 9),
        ("disk", 10),
    )
    print(" ".join([" " * 38, *(f"{column:>{width}}" for column, width in columns)]))
    for name, of in medians.items():
        ratios = dict.fromkeys(("fit_s", "cpu_s"), "")
        for key in ratios if BASELINE in results else ():
            runs = zip(results[BASELINE], results[name], strict=True)
            ratios[key] = f"{statistics.median(theirs[key] / ours[key] for theirs, ours in runs):.1f}x"
        print(
            f"{name:<38} {of['fit_s']:7.1f} s {ratios['fit_s']:>7} {of['cpu_s']:7.1f} s {ratios['cpu_s']:>7}"
            f" {of['macro_map']:7.4f} {of['peak_mib']:6.0f} MiB"
            f" {of['predict_s']:7.2f} s {of['size_mib']:6.1f} MiB",
            flush=True,
        )


def main() -> None:
    """Make the problem, measure, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--labels", type=int, default=10)
    parser.add_argument("--long-tail", action="store_true", help="a large collection: 12 labels a row, 10,000 held out")
    trained = [name for name in HEADS if name not in ("zero_shot", "probabilities")]
    parser.add_argument("--heads", nargs="+", default=trained)
    parser.add_argument("--options", type=json.loads, default={}, help='JSON, by head: {"mlp": {"max_epochs": 5}}')
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--no-baseline", action="store_true")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        print(json.dumps(measure(chosen.folder, chosen.one, chosen.options)))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_problem(folder, chosen.rows, chosen.dim, chosen.labels, long_tail=chosen.long_tail)
        Y = sparse.load_npz(folder / "train.npz")
        share = Y.sum(axis=0) / Y.shape[0]
        print(
            f"{chosen.rows} rows of {chosen.dim}, {chosen.labels} labels, {Y.sum() / Y.shape[0]:.1f} a row, "
            f"positives {share.min():.2%} to {share.max():.2%}; {len(os.sched_getaffinity(0))} cores, "
            f"load {os.getloadavg()[0]:.1f}",
            flush=True,
        )
        names = [] if chosen.no_baseline or chosen.long_tail else [BASELINE]
        results: dict[str, list[dict[str, float]]] = {one: [] for one in [*names, *chosen.heads]}
        for _ in range(chosen.repeat):
            for one, runs in results.items():
                runs.append(in_own_process(folder, one, chosen.options.get(one, {})))
        show(results)
        if chosen.long_tail and "mlp" in results:
            of = results["mlp"][-1]
            print(f"mlp: {of['fit_s'] / 60:.1f} of {MINUTES} minutes, {of['peak_mib'] / 1024:.2f} of {GIB} GiB")


if __name__ == "__main__":
    main()
