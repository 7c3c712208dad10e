"""Precision and recall of duplicate detection on the demo corpus.

Copies of some tracks are written (other codecs, trimmed, padded, quieter, resampled, and two of these combined), and
renditions (the same tune in another performance). Distractors are the whole demo and albums of drones. Half of the
tunes serve to choose thresholds; results are reported on the other half.

Run it after ``python -m scripts.demo`` and ``eno embed``: ``python -m scripts.bench.duplicates DATA_ROOT STORE``.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np
from scipy.ndimage import gaussian_filter1d

from eno.duplicates.copies import SAME, Pair
from eno.duplicates.find import MIN_COSINE, NEAREST, NEIGHBOURS, find_duplicates
from eno.duplicates.recordings import MIN_COHERENCE, MIN_DETAIL, Likeness, Recording, compare
from eno.embeddings.job.embed import embed_folder
from eno.embeddings.job.pipeline import LocalExecutor
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.encoders import load_encoder
from eno.files import write_json
from eno.similarity.index.ann import train_faiss
from eno.similarity.index.build import build_index
from eno.similarity.index.index import SimilarityIndex
from eno.similarity.index.writer import IndexWriter
from scripts.demo.variants import Variant, write_audio, write_copies, write_renditions

TWICE = (("trimmed-both", "mp3-64"), ("padded", "opus"), ("22050hz", "mp3-64"), ("mono", "ogg"))
"""Combinations: the first change, and the encoding applied to its result."""

DRONE_ALBUMS, DRONES = 6, 3
DRONE_S, DRONE_RATE = 30, 44_100
DRONE_COPIES = ("mp3-64", "ogg", "opus", "trimmed-both")


@dataclass
class Truth:
    """Ground truth by track id.

    ``tune`` is the number of the tune, -1 for distractors; tunes of even number serve to choose thresholds.
    """

    recording: dict[str, str] = field(default_factory=dict)
    kind: dict[str, str] = field(default_factory=dict)
    tune: dict[str, int] = field(default_factory=dict)

    def add(self, track_id: str, recording: str, kind: str, tune: int) -> None:
        """Add a file."""
        self.recording[track_id], self.kind[track_id], self.tune[track_id] = recording, kind, tune

    def same(self, first: str, second: str) -> bool:
        """Whether two files are copies of one recording."""
        return self.recording[first] == self.recording[second]

    def is_reported(self, first: str, second: str) -> bool:
        """Whether a pair is reported, not used to choose thresholds."""
        return any(self.tune[track_id] % 2 for track_id in (first, second))  # -1 is odd too


def drone(album: int, track: int) -> np.ndarray:
    """Synthesise the sustained tones of an album, each of which swells slowly on its own [shape=(samples, 1)]."""
    rng, own = np.random.default_rng([album, 9]), np.random.default_rng([album, track])
    seconds = np.arange(DRONE_S * DRONE_RATE) / DRONE_RATE
    root, depth, vibrato = rng.uniform(55, 140), (0.2, 0.4, 0.8)[album % 3], (0.0, 0.002)[album % 2]
    sound = (0.003, 0.03)[album // 2 % 2] * own.standard_normal(len(seconds))

    def slow(width_s: float) -> np.ndarray:
        noise = gaussian_filter1d(own.standard_normal(10 * DRONE_S + 1), 10 * width_s)
        return np.interp(seconds, np.arange(len(noise)) / 10, noise / noise.std())

    for number, ratio in enumerate((1, 1.5, 2, 3, 4, 4.5, 6, 9)):
        swell = np.maximum(0.02, 1 + depth * slow(own.uniform(0.4, 4)))
        phase = 2 * np.pi * np.cumsum(root * ratio * (1 + vibrato * slow(2))) / DRONE_RATE
        sound += swell * np.sin(phase) / (number + 1)
    return (0.5 * sound / np.abs(sound).max())[:, None].astype(np.float32)


def write_drones(folder: Path) -> list[str]:
    """Write albums of drones, and return their paths relative to `folder`."""
    names = []
    for album, track in itertools.product(range(DRONE_ALBUMS), range(DRONES)):
        path = folder / f"album {album}" / f"{track}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_audio(path, drone(album, track), DRONE_RATE, suffix=".flac")
        names.append(path.relative_to(folder).as_posix())
    return names


def write_files(data_root: Path, sources: list[str], folder: Path) -> Truth:
    """Write all files to compare; ``folder/demo`` is a link to the demo."""
    audio, truth = data_root / "raw" / "audio", Truth()
    (folder / "demo").symlink_to(audio.resolve())
    number = {track_id: place for place, track_id in enumerate(sources)}
    for path in sorted(audio.rglob("*.*")):
        if path.is_file():
            track_id = path.relative_to(audio).as_posix()
            truth.add(f"demo/{track_id}", f"demo/{track_id}", "original", number.get(track_id, -1))

    def note(variants: Iterable[Variant], kind: str = "", originals: str = "demo", copied: str = "") -> None:
        for one in variants:
            source = one.source_track_id
            if copied:  # a copy of a copy, whose suffix differs from the source's
                source = next(name for name in sources if PurePosixPath(name).with_suffix(".flac").as_posix() == source)
            track_id = one.path.relative_to(folder).as_posix()
            recording = f"{originals}/{source}" if one.same_recording else track_id
            tune = number.get(source, -1) if originals == "demo" else int(source.split("/")[0].split()[-1])
            truth.add(track_id, recording, kind or one.kind, tune)

    note(write_copies(audio, sources, folder / "copies"))
    for first, then in TWICE:
        kind, below = f"{first}, {then}", folder / "copies" / first
        names = [PurePosixPath(name).with_suffix(".flac").as_posix() for name in sources]
        note(write_copies(below, names, folder / "twice" / first, kinds=[then]), kind, copied=first)
    note(write_renditions(data_root, sources, folder / "renditions"))
    names = write_drones(folder / "drones")
    for name in names:
        truth.add(f"drones/{name}", f"drones/{name}", "original", int(name.split("/")[0].split()[-1]))
    firsts = [name for name in names if name.endswith("/0.flac")]
    copies = write_copies(folder / "drones", firsts, folder / "drone copies", kinds=DRONE_COPIES)
    note(copies, "drone", originals="drones")
    return truth


def embed_all(folder: Path, demo: EmbeddingStore) -> EmbeddingStore:
    """Embed the written files, and copy the embeddings of the demo."""
    place = folder.with_name(demo.spec.label)
    if place.is_dir():
        return EmbeddingStore.open(place)
    encoder = load_encoder(demo.spec.name, device="cpu", **demo.spec.options)
    store = EmbeddingStore.create(place, demo.spec, policy=demo.policy, dtype=demo.dtype)
    embed_folder(folder, encoder, store, executor=LocalExecutor(encoder, demo.policy))
    names, starts_s, vectors = demo.windows()
    with store.writing():
        store.append([f"demo/{name}" for name in names], starts_s, vectors)
    return store


def compare_directly(folder: Path, truth: Truth) -> tuple[dict[tuple[str, str], Likeness], dict[str, list[Likeness]]]:
    """Compare recordings with their copies, and with other recordings, whether or not their embeddings are similar.

    Returns
    -------
    copies : dict
        Results by pair.
    others : dict
        Results of the reported pairs of different recordings, by kind.
    """
    originals = [track_id for track_id, kind in truth.kind.items() if kind == "original"]
    pairs = defaultdict(list)
    by_album = defaultdict(list)
    for track_id in originals:
        by_album[str(PurePosixPath(track_id).parent)].append(track_id)
    for track_id, kind in truth.kind.items():
        if track_id.startswith("renditions/"):
            stem = str(PurePosixPath(*PurePosixPath(track_id).parts[2:]).with_suffix(""))
            pairs[kind].append((next(name for name in originals if name.startswith(f"demo/{stem}.")), track_id))
    for album, names in by_album.items():
        kind = "same album of drones" if album.startswith("drones") else "same album"
        if any(truth.tune[name] >= 0 for name in names):
            pairs[kind] += list(itertools.combinations(sorted(names), 2))
    read = functools.cache(lambda track_id: Recording.read(folder / track_id))
    copies = {pair: compare(*map(read, pair)) for pair in positives(truth)}
    others = {
        kind: [compare(*map(read, pair)) for pair in names if truth.is_reported(*pair)] for kind, names in pairs.items()
    }
    return copies, others


def index_without_refitting(index: SimilarityIndex, store: EmbeddingStore) -> SimilarityIndex:
    """Replace the rows of an exact index by those of another store.

    A real collection has few copies, so the copies here must not affect the space.
    """
    manifest = replace(index.manifest, rows=0, generation=2, vectors="vectors-2.i16")
    empty = train_faiss("exact", index.vectors(np.arange(1)), len(store.track_ids()), seed=0)
    writer = IndexWriter(index.folder, manifest, index.space, empty)
    writer.add(store, store.tracks(), None)
    return writer.finish(built=True)


def is_candidate(index: SimilarityIndex, truth: Truth, pair: tuple[str, str]) -> tuple[bool, float]:
    """Return whether a pair would be a candidate if there were no other copies of it, and its cosine."""
    vectors = index.vectors(np.concatenate([index.rows_of(one) for one in pair]))
    cosine = float(vectors[0] @ vectors[1])
    others = np.array([truth.recording[track_id] != truth.recording[pair[0]] for track_id in index.ids])
    ranks = [int(((index.vectors(np.flatnonzero(others)) @ vector) > cosine).sum()) for vector in vectors]
    near = min(ranks) < NEAREST or (min(ranks) < NEIGHBOURS and cosine >= MIN_COSINE)
    return near, cosine


def print_choice(
    index: SimilarityIndex, truth: Truth, pairs: list[Pair], copies: dict[tuple[str, str], Likeness]
) -> None:
    """Print the distributions on the half of the tunes that serves to choose thresholds."""
    chosen = [pair for pair in copies if not truth.is_reported(*pair)]
    print(f"\nto choose thresholds: {len(chosen)} pairs of a recording and its copy; minimum / 1st / 5th percentile")
    _print_low("cosine", [is_candidate(index, truth, pair)[1] for pair in chosen], MIN_COSINE)
    others = [
        pair.likeness
        for pair in pairs
        if pair.likeness.offset_s is not None
        and not truth.is_reported(pair.first, pair.second)
        and not truth.same(pair.first, pair.second)
    ]
    for name, threshold in (("coherence", MIN_COHERENCE), ("detail", MIN_DETAIL)):
        _print_low(name, [getattr(copies[pair], name) for pair in chosen], threshold)
    for pair in chosen:
        if not copies[pair].same:
            print(f"  rejected: {truth.kind[pair[1]]} of {pair[0]}: {copies[pair].reason}")
    scores = [likeness.score for likeness in others]
    print(f"  {len(others)} pairs of different recordings could be aligned; their highest score is {max(scores):.3f}\n")


def _print_low(name: str, values: list[float], threshold: float) -> None:
    low = np.quantile(values, [0, 0.01, 0.05])
    print(f"  {name:<10} {low[0]:.3f} / {low[1]:.3f} / {low[2]:.3f}; threshold {threshold}")


def positives(truth: Truth) -> list[tuple[str, str]]:
    """Return the pairs of a recording and a copy of it."""
    return [(recording, track_id) for track_id, recording in truth.recording.items() if recording != track_id]


def print_results(
    index: SimilarityIndex,
    truth: Truth,
    pairs: list[Pair],
    copies: dict[tuple[str, str], Likeness],
    others: dict[str, list[Likeness]],
) -> None:
    """Print recall by kind of copy, false positives by kind of pair, and overall precision and recall."""
    rows = defaultdict(list)
    for pair, likeness in copies.items():
        if truth.is_reported(*pair):
            near, _ = is_candidate(index, truth, pair)
            found = near, likeness.same is True, likeness.same is None, near and likeness.same is True
            rows[truth.kind[pair[1]]].append(found)
    print(f"{'copies':<24} {'pairs':>6} {'near':>6} {'same':>6} {'undecided':>10} {'recall':>7}")
    for kind, found in rows.items():
        near, same, undecided, both = np.sum(found, axis=0)
        print(f"{kind:<24} {len(found):>6} {near:>6} {same:>6} {undecided:>10} {both / len(found):>7.3f}")
    print(f"\n{'different recordings':<24} {'pairs':>6} {'same':>13} {'undecided':>10}")
    for kind, found in others.items():
        same = [likeness.same for likeness in found]
        print(f"{kind:<24} {len(same):>6} {same.count(True):>13} {same.count(None):>10}")
    confirmed = [pair for pair in pairs if pair.decision == SAME and truth.is_reported(pair.first, pair.second)]
    right = sum(truth.same(pair.first, pair.second) for pair in confirmed)
    near, same, _, both = np.mean([found for kind in rows.values() for found in kind], axis=0)
    print(f"\nprecision {right / max(1, len(confirmed)):.4f}: {right} of {len(confirmed)} confirmed pairs are copies")
    print(f"recall    {both:.4f}: {near:.4f} of the copies are candidates, {same:.4f} are confirmed if compared")
    for pair in confirmed:
        if not truth.same(pair.first, pair.second):
            print(f"wrong: {pair.first} and {pair.second}: {pair.likeness}")


def main() -> None:
    """Write, embed, search and compare; print tables and times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data_root", type=Path, help="folder of the demo corpus")
    parser.add_argument("store", type=Path, help="store of the demo's tracks")
    parser.add_argument("--tracks", type=int, default=8, help="number of tracks to make copies of")
    parser.add_argument("--folder", type=Path, help="cache of written files and embeddings")
    arguments = parser.parse_args()
    demo = EmbeddingStore.open(arguments.store)
    ids = demo.track_ids()
    sources = ids[7 :: max(1, len(ids) // arguments.tracks)][: arguments.tracks]
    began = time.perf_counter()

    def lap(what: str) -> None:
        nonlocal began
        print(f"{what}: {time.perf_counter() - began:.0f} s")
        began = time.perf_counter()

    print(f"{os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as scratch:
        folder = (arguments.folder or Path(scratch)) / "audio"
        noted = folder.with_name("truth.json")
        if noted.is_file():
            truth = Truth(**json.loads(noted.read_text("utf-8")))
        else:
            folder.mkdir(parents=True)
            truth = write_files(arguments.data_root, sources, folder)
            write_json(noted, asdict(truth))
        lap(f"{len(truth.kind) - len(ids)} files written")
        store = embed_all(folder, demo)
        lap(f"embedded with {demo.spec.label}")
        index = index_without_refitting(build_index(demo, Path(scratch) / "index"), store)
        found = find_duplicates(index, audio_roots=folder)
        lap(f"{len(found.pairs)} pairs compared ({NEIGHBOURS} nearest of cosine ≥ {MIN_COSINE}, {NEAREST} of any)")
        copies, others = compare_directly(folder, truth)
        lap(f"{len(copies)} copies and {sum(map(len, others.values()))} others compared")
        print_choice(index, truth, found.pairs, copies)
        print_results(index, truth, found.pairs, copies, others)


if __name__ == "__main__":
    main()
