"""Fit models, each in a process of its own, and keep their predictions, time and memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scripts.bench.tagging.problems import Problem

COSTS = ("seconds", "cpu_s", "peak_mib", "load")


def measure(problems: Sequence[Problem], name: str, options: dict[str, Any], *, limit_s: float) -> bool:
    """Fit a model on each problem that has no predictions of it yet; return whether all have them."""
    missing = [one for one in problems if not result_of(one, name).exists()]
    if missing:
        command = [sys.executable, "-m", "scripts.bench.tags", "--one", name, "--options", json.dumps({name: options})]
        try:
            subprocess.run([*command, "--problems", *(str(one.folder) for one in missing)], check=True, timeout=limit_s)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            print(f"{name}: {error}"[:300], file=sys.stderr)
            return False
    return True


def measure_here(problem: Problem, name: str, options: dict[str, Any]) -> None:
    """Fit a model in this process."""
    from scripts.bench.tagging.models import predict

    peak, began, worked = Peak(), time.perf_counter(), time.process_time()
    probabilities = predict(name, options, problem)
    costs = (time.perf_counter() - began, time.process_time() - worked, peak.mib(), os.getloadavg()[0])
    path = result_of(problem, name)
    with path.with_suffix(".part").open("wb") as file:
        np.savez(file, probabilities=probabilities.astype(np.float32), costs=np.array(costs))
    path.with_suffix(".part").rename(path)


def result_of(problem: Problem, name: str) -> Path:
    """Return the file of a model's predictions."""
    return problem.folder / f"{name.replace(' ', '_')}.result.npz"


class Peak:
    """Highest memory of this process without mapped files, whose pages Linux can take back at any time."""

    def __init__(self) -> None:
        self._most, self._over = 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._over.wait(0.02):
            status = Path("/proc/self/status").read_text().split()
            self._most = max(self._most, int(status[status.index("RssAnon:") + 1]))

    def mib(self) -> float:
        """Stop watching, and return the highest value."""
        self._over.set()
        self._thread.join()
        return self._most / 1024
