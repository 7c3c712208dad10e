"""How fast ``eno embed`` is as a whole, and what it takes of memory, on real files of several minutes.

``efficiency``: the rate of the job against the ideal of its two halves. With a windows per second of the model alone,
on windows in memory, and b of decoding alone, on all cores, that is 1 / (1/a + 1/b) where both share the cores, and
min(a, b) on a GPU. ``loop``: the job against librosa.load of whole files, extractor and model, one file at a time.
``memory``: the peak of all its processes at 200 and at 2,000 files. ``idle``: a run that finds nothing to do in a store
of a million tracks, over a million files.

The pieces are those of the demo, rendered longer, as mp3, flac and ogg; or name a folder of your own.

Run it with nothing else on the machine: ``python -m scripts.bench.embed [efficiency loop memory idle] [--device …]``.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import soundfile
import torch

from eno.audio.track_decoding import FileStamp, TrackHead, TrackRequest, track_pool
from eno.audio.windows import WindowPolicy
from eno.audio.workers.handle import Chunk
from eno.cores import usable_cores
from eno.data.library.files import find_tracks
from eno.embeddings.job.embed import embed_folder
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.encoders import load_encoder
from eno.encoders.musicnn.weights import load_weights
from scripts.demo.corpus import build_corpus

POLICY = WindowPolicy()
MUSICNN_MEL = {"sr": 16_000, "n_fft": 512, "hop_length": 256, "n_mels": 96}
_FORMATS = (("mp3", "MPEG_LAYER_III"), ("flac", "PCM_16"), ("ogg", "VORBIS"))


def render(folder: Path, tracks: int, minutes: float) -> Path:
    """Render pieces of the demo and write them as mp3, flac and ogg in turn."""
    build_corpus(folder / "corpus", tracks=max(60, tracks), duration_s=60 * minutes)
    audio = folder / "audio"
    audio.mkdir(exist_ok=True)
    for number, track in enumerate(find_tracks(folder / "corpus" / "raw" / "audio")):
        suffix, subtype = _FORMATS[number % len(_FORMATS)]
        _convert(Path(track.file), audio / f"{number:04d}.{suffix}", subtype)
    shutil.rmtree(folder / "corpus")
    return audio


def _convert(path: Path, target: Path, subtype: str) -> None:
    with (
        soundfile.SoundFile(path) as source,
        soundfile.SoundFile(target, "w", source.samplerate, source.channels, subtype) as written,
    ):
        for block in source.blocks(2**16):  # libsndfile cannot write long Vorbis at once
            written.write(block)


def linked(audio: Path, folder: Path, count: int) -> Path:
    """Make a folder of so many files, which are links to those there are."""
    folder.mkdir()
    for number, path in enumerate(islice(cycle(sorted(audio.iterdir())), count)):
        os.link(path, folder / f"{number:06d}{path.suffix}")
    return folder


def load(name: str, device: str, checkpoint: Path | None) -> Any:
    """Load musicnn, or CLAP from a checkpoint of the size of HTSAT-tiny."""
    return (
        load_encoder("musicnn", device=device)
        if checkpoint is None
        else load_encoder(name, model=str(checkpoint), device=device)
    )


def embed(audio: Path, encoder: Any) -> float:
    """Windows per second of the whole job, from listing the folder to the last part on the disk."""
    with tempfile.TemporaryDirectory() as folder:
        store = EmbeddingStore.create(Path(folder) / "store", encoder.spec, policy=POLICY)
        began = time.perf_counter()
        report = embed_folder(audio, encoder, store)
        seconds = time.perf_counter() - began
        if report.failed or report.left:
            raise SystemExit(f"{report.failed} files failed")
        return store.summary()["windows"] / seconds


def decode_rate(audio: Path, encoder: Any) -> tuple[float, np.ndarray]:
    """Windows per second of decoding with a process a core, and some windows."""
    requests = [TrackRequest(track.file, None) for track in find_tracks(audio)]
    with track_pool(encoder.spec, POLICY, workers=usable_cores()) as pool:
        some: list[np.ndarray] = []
        for again in (requests[: 2 * usable_cores()], requests):  # the first ones wait for the processes to start
            began, windows = time.perf_counter(), 0
            for event in pool.run(again):
                if isinstance(event, Chunk):
                    if not isinstance(event.content, TrackHead):
                        windows += len(event.content)
                        if len(some) < 8:
                            some.append(event.content.copy())
                    event.release()
            rate = windows / (time.perf_counter() - began)
    return rate, np.concatenate(some)


def model_rate(encoder: Any, windows: np.ndarray, seconds: float = 10.0) -> float:
    """Windows per second of the encoder on windows in memory."""
    encoder.encode(windows)
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        encoder.encode(windows)
        done += len(windows)
    return done / (time.perf_counter() - began)


def bench_efficiency(audio: Path, encoder: Any, name: str, repeats: int = 3) -> None:
    """Print the rate of the job against that of its halves, measured before and after it."""
    on_gpu = encoder.device.type != "cpu"
    b, windows = decode_rate(audio, encoder)
    ratios = []
    for _ in range(repeats):
        before = model_rate(encoder, windows)
        with gpu_utilisation(on_gpu) as utilisation:
            rate = embed(audio, encoder)
        a = (before + model_rate(encoder, windows)) / 2
        ideal = min(a, b) if on_gpu else 1 / (1 / a + 1 / b)
        ratios.append(rate / ideal)
        busy = f", GPU busy {np.mean(utilisation):.0f} %" if utilisation else ""
        print(
            f"{name:<8} model {a:7.1f} windows/s, decoding {b:7.1f}, ideal {ideal:7.1f}, job {rate:7.1f}: "
            f"efficiency {ratios[-1]:.2f}{busy}",
            flush=True,
        )
    print(f"{name:<8} median efficiency {np.median(ratios):.2f}")


def literal_musicnn(encoder: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Musicnn as it is written down: features by librosa, then every layer in the published order."""
    from scripts.bench.encoding.musicnn import plain_network

    weights, _ = load_weights(encoder.spec.options["checkpoint"])

    @torch.inference_mode()
    def extract_and_encode(windows: np.ndarray) -> np.ndarray:
        mel = [librosa.feature.melspectrogram(y=one, center=False, **MUSICNN_MEL) for one in windows]
        patches = np.log10(10_000 * np.stack(mel) + 1).transpose(0, 2, 1)
        return plain_network(weights, torch.from_numpy(patches)).numpy()[:, None]

    return extract_and_encode


def bench_loop(audio: Path, encoder: Any, name: str, files: int = 9) -> None:
    """Print the job against the obvious loop, which runs on some of the files."""
    from encoders import clap_case

    if name == "musicnn":
        ways = {"literal model": literal_musicnn(encoder), "eno's model": encoder.encode}
    else:
        ways = {"transformers": clap_case(Path(encoder.spec.location["model"]), encoder.device, "auto").reference}
    spec = encoder.spec
    rate = embed(audio, encoder)
    for way, extract_and_encode in ways.items():
        vectors = []
        began = time.perf_counter()
        for path in sorted(audio.iterdir())[:files]:
            samples, _ = librosa.load(path, sr=spec.sample_rate)
            starts = POLICY.starts(len(samples), spec.window_samples, spec.sample_rate)
            windows = np.stack([samples[start : start + spec.window_samples] for start in starts])
            vectors.append(extract_and_encode(windows))
        loop = sum(map(len, vectors)) / (time.perf_counter() - began)
        ours = encoder.encode(windows)
        cosine = np.sum(ours * vectors[-1]) / np.linalg.norm(ours) / np.linalg.norm(vectors[-1])
        print(
            f"{name:<8} obvious loop, {way}: {loop:.2f} windows/s, job {rate:.2f}: {rate / loop:.1f} times as fast "
            f"(cosine of the last vectors {cosine:.5f})",
            flush=True,
        )


def bench_memory(audio: Path, folder: Path, device: str, counts: tuple[int, int] = (200, 2000)) -> None:
    """Print the peak of the job's processes together, and the course of it."""
    peaks = []
    for count in counts:
        files = linked(audio, folder / f"{count} files", count)
        peak, course, seconds = in_process(_embed_with_musicnn, files, folder / f"store {count}", device)
        peaks.append(peak)
        tenths = [course[len(course) * place // 10] for place in range(10)]
        print(
            f"memory   {count:>5} files, {seconds:.0f} s: peak {peak:.0f} MiB; course "
            f"{', '.join(f'{mib:.0f}' for mib in tenths)}",
            flush=True,
        )
    print(f"memory   {counts[1]} files take {peaks[1] / peaks[0]:.3f} of what {counts[0]} take")


def _embed_with_musicnn(audio: Path, path: Path, device: str) -> None:
    encoder = load_encoder("musicnn", device=device)
    embed_folder(audio, encoder, EmbeddingStore.create(path, encoder.spec, policy=POLICY))


def bench_idle(folder: Path, tracks: int) -> None:
    """Print what a run costs that has nothing to do."""
    audio = folder / "million"
    for artist in range(0, tracks, 100):
        album = audio / f"artist {artist // 1000:04d}" / f"album {artist:07d}"
        album.mkdir(parents=True)
        for track in range(artist, min(tracks, artist + 100)):
            os.mknod(album / f"{track:07d} a title of some length.flac")
    encoder = load_encoder("musicnn", device="cpu")
    store = EmbeddingStore.create(folder / "store of a million", encoder.spec, policy=POLICY)
    random = np.random.default_rng(0).standard_normal((8 * 20_000, 1, encoder.spec.dim)).astype(np.float32)
    found = find_tracks(audio)
    for first in range(0, tracks, 20_000):
        some = found[first : first + 20_000]
        files = {one.id: FileStamp(one.size or 0, one.mtime_ns or 0, f"{n:032x}") for n, one in enumerate(some, first)}
        ids = [one.id for one in some for _ in range(8)]
        store.append(ids, np.tile(np.arange(8.0), len(some)), random[: len(ids)], files=files)
    del found, random
    command = [
        sys.executable,
        "-c",
        "from eno.cli import main; main()",
        "embed",
        str(audio),
        "--store",
        str(store.path),
    ]
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    peak, _ = watched(process.pid, process.poll)
    seconds = time.perf_counter() - began
    said = process.communicate()[0].splitlines()[0]
    print(
        f"idle     {said}: {seconds:.1f} s from start to end, peak {peak:.0f} MiB; store of "
        f"{store.summary()['bytes'] / 1e9:.1f} GB"
    )


def in_process(work: Callable[..., None], *arguments: Any) -> tuple[float, list[float], float]:
    """Run `work` in a process of its own: the peak and the course of its memory in MiB, and its seconds."""
    process = multiprocessing.get_context("spawn").Process(target=work, args=arguments)
    began = time.perf_counter()
    process.start()
    peak, course = watched(process.pid, lambda: process.exitcode)
    if process.exitcode:
        raise SystemExit(f"{work.__name__} ended with {process.exitcode}")
    return peak, course, time.perf_counter() - began


def watched(pid: int, ended: Callable[[], int | None]) -> tuple[float, list[float]]:
    """Sample the memory of a process and all below it in MiB until it ends: the peak, and all samples."""
    course = []
    while ended() is None:
        course.append(_pss_mib(pid))
        time.sleep(0.1)
    return max(course), course


def _pss_mib(pid: int) -> float:
    """Memory of a process and all below it; what they share is counted once."""
    total = 0.0
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        total = next(float(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024
        below = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:  # it has ended
        return total
    return total + sum(_pss_mib(int(child)) for child in below)


@contextmanager
def gpu_utilisation(wanted: bool) -> Iterator[list[float]]:
    """Collect the GPU's utilisation in per cent while something runs."""
    samples: list[float] = []
    ended = threading.Event()

    def sample() -> None:
        command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
        while not ended.wait(0.5):
            output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            samples.append(float(output.splitlines()[0]))

    thread = threading.Thread(target=sample, daemon=True)
    if wanted:
        thread.start()
    try:
        yield samples
    finally:
        ended.set()
        if wanted:
            thread.join()


def main() -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    choices = ("efficiency", "loop", "memory", "idle")
    parser.add_argument("what", nargs="*", help=f"of {', '.join(choices)}; all without")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--audio", type=Path, help="a folder of long files, in place of rendered ones")
    parser.add_argument("--files", type=int, default=60)
    parser.add_argument("--minutes", type=float, default=4)
    parser.add_argument("--tracks", type=int, default=1_000_000, help="for idle")
    arguments = parser.parse_args()
    what = arguments.what or choices
    if unknown := set(what) - set(choices):
        parser.error(f"choose from {', '.join(choices)}, not {', '.join(unknown)}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "idle" in what:
            bench_idle(folder, arguments.tracks)
        if set(what) == {"idle"}:
            return
        audio = arguments.audio or render(folder, arguments.files, arguments.minutes)
        print(f"{len(list(audio.iterdir()))} files, {usable_cores()} cores, device {arguments.device}")
        if "memory" in what:
            bench_memory(audio, folder, arguments.device)
        if {"efficiency", "loop"} & set(what):
            from tests.checkpoints import save_clap

            checkpoint = save_clap(folder / "clap-tiny", "tiny")
            for encoder_name, weights in (("musicnn", None), ("clap", checkpoint)):
                encoder = load(encoder_name, arguments.device, weights)
                if "efficiency" in what:
                    bench_efficiency(audio, encoder, encoder_name)
                if "loop" in what:
                    bench_loop(audio, encoder, encoder_name)


if __name__ == "__main__":
    main()
