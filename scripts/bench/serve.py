r"""Throughput and latency of the HTTP service, and its overhead over the predictor.

    python -m scripts.bench.serve --model data/demo/models/musicnn-mtt-mlp --store data/demo/embeddings/… \
        --data-root data/demo [--seconds 10] [--requests 10000]

Tags a clip of 30 s and finds neighbours of a track, with 1, 8 and 32 concurrent clients. Each client is a thread with a
persistent connection, and waits for a response before its next request. The service is a separate process on the same
cores. For comparison the same clip is tagged by `EnoPredictor.predict_proba` in this process. Memory is that of the
service and its worker processes (Linux), before and after the requests.
"""

from __future__ import annotations

import argparse
import http.client
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import numpy as np
import soundfile

from eno.audio.reading import decode
from eno.cores import usable_cores
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.inference.predictor import EnoPredictor

Request = tuple[str, str, bytes | None]
CLIENTS = (1, 8, 32)
CLIP_S, RATE = 30.0, 44_100
_ROUNDS = 3


class Service:
    """``eno serve`` in a separate process."""

    def __init__(self, model: Path, store: Path, data_root: Path, *, layout: str = "pca") -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        command = [sys.executable, "-m", "eno", "serve", "--model", model, "--store", store, "--data-root", data_root,
                   "--port", self.port, "--layout", layout]  # fmt: skip
        began = time.monotonic()
        self.process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL)
        self.peak_mb = 0.0
        threading.Thread(target=self._watch_memory, daemon=True).start()
        while True:
            try:
                status, _ = self.ask(self.connect(), "GET", "/readyz")
                break
            except OSError:
                if self.process.poll() is not None:
                    raise SystemExit("the service did not start") from None
                time.sleep(0.05)
        assert status == 200
        self.start_s = time.monotonic() - began

    def connect(self) -> http.client.HTTPConnection:
        """Return a new connection, on which the first map of a large collection may take minutes."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=1200)

    @staticmethod
    def ask(
        connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None = None
    ) -> tuple[int, bytes]:
        """Return status and body of a response."""
        connection.request(method, path, body, {"Content-Type": "audio/mpeg"} if body else {})
        answer = connection.getresponse()
        return answer.status, answer.read()

    def memory_mb(self) -> float:
        """Return the memory of the process and its children, with shared pages counted once."""
        # Any thread may have started a child.
        lists = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        children = [pid for one in lists for pid in one.read_text().split()]
        total = 0
        for pid in (str(self.process.pid), *children):
            found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
            total += int(found[1]) if found else 0
        return total / 1000

    def _watch_memory(self) -> None:
        """Keep the highest `memory_mb` in `peak_mb`, as seen five times a second."""
        while self.process.poll() is None:
            with suppress(OSError):  # a process has ended meanwhile
                self.peak_mb = max(self.peak_mb, self.memory_mb())
            time.sleep(0.2)

    def cpu_s(self) -> float:
        """Return the CPU time of the process, without its children."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        """Terminate the process."""
        self.process.terminate()
        self.process.wait(60)


def measure(
    service: Service, clients: int, ask: Callable[[int], Request], *, seconds: float = np.inf, requests: float = np.inf
) -> dict[str, float]:
    """Send requests from several clients; `ask` returns method, path and body for the number of a request."""
    times, refused, lock, numbers = [], [0], threading.Lock(), iter(range(10**9))
    began = time.monotonic()

    def client() -> None:
        connection = service.connect()
        while time.monotonic() - began < seconds:
            with lock:
                number = next(numbers)
            if number >= requests:
                return
            asked = time.monotonic()
            status, body = Service.ask(connection, *ask(number))
            with lock:
                if status == 200:
                    times.append(time.monotonic() - asked)
                else:
                    refused[0] += 1
                    assert status == 503, body

    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.monotonic() - began
    p50, p99 = np.percentile(times, [50, 99])
    return {
        "per_s": len(times) / elapsed,
        "p50_ms": 1000 * p50,
        "p99_ms": 1000 * p99,
        "n": len(times),
        "503": refused[0],
    }


def in_process(predictor: EnoPredictor, clip: Path, seconds: float) -> float:
    """Return clips per second without HTTP, one after the other."""
    began, count = time.monotonic(), 0
    while time.monotonic() - began < seconds:
        predictor.predict_proba(clip)
        count += 1
    return count / (time.monotonic() - began)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=10.0, help="duration of each measurement")
    parser.add_argument("--requests", type=int, default=10_000, help="requests between the two measurements of memory")
    options = parser.parse_args()
    ids = EmbeddingStore.open(options.store).track_ids()
    source = options.data_root / "raw" / "audio" / ids[0]
    samples = np.resize(decode(source, sample_rate=RATE), round(CLIP_S * RATE))
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp3"
        soundfile.write(clip, samples, RATE)
        predictor = EnoPredictor.load(options.model)
        print(f"{usable_cores()} cores, load {os.getloadavg()[0]:.1f}; {predictor.encoders[0].spec.label}; clip of "
              f"{CLIP_S:g} s as MP3, {clip.stat().st_size / 1e3:.0f} kB")  # fmt: skip
        predictor.predict_proba(clip)
        service = Service(options.model, options.store, options.data_root)
        try:
            report(service, clip, ids, options, predictor)
        finally:
            service.stop()


def report(service: Service, clip: Path, ids: list[str], options: argparse.Namespace, predictor: EnoPredictor) -> None:
    """Measure, and print the results."""
    content = clip.read_bytes()
    print(f"ready after {service.start_s:.1f} s")

    def similar(number: int) -> Request:
        return "GET", f"/v1/tracks/{quote(ids[number % len(ids)])}/similar?k=10", None

    def tag(_number: int) -> Request:
        return "POST", "/v1/tag", content

    measure(service, 2, tag, requests=4)
    rounds = []
    for _ in range(_ROUNDS):  # alternating, because the load of the machine varies
        alone = in_process(predictor, clip, options.seconds)
        rounds.append((alone, measure(service, 8, tag, seconds=options.seconds)["per_s"]))
        print(f"in process {alone:.2f} clips/s, by 8 clients {rounds[-1][1]:.2f}")
    ratio = np.median([served / alone for alone, served in rounds])
    print(f"at saturation the service reaches {100 * ratio:.0f} % of the throughput in process")
    for name, ask in (("tag a clip", tag), ("similar by id", similar)):
        for clients in CLIENTS:
            found = measure(service, clients, ask, seconds=options.seconds)
            print(
                f"{name}, {clients:2} clients: {found['per_s']:7.2f} /s, p50 {found['p50_ms']:7.1f} ms, "
                f"p99 {found['p99_ms']:7.1f} ms ({found['n']} responses, {found['503']} refused)"
            )
    before = service.memory_mb()
    measure(service, 8, similar, requests=options.requests * 0.99)
    measure(service, 8, tag, requests=max(1, options.requests * 0.01))
    print(f"memory {before:.0f} MB, after {options.requests} more requests (1 % clips) {service.memory_mb():.0f} MB")


if __name__ == "__main__":
    main()
