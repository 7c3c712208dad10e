"""How well copies of a recording are found, and what is taken for one that is none, on the demo corpus.

Of some tracks copies are written (other codecs, trimmed, padded, softer, resampled, and two of these at once) and
renditions (the same tune played anew); beside them stand the whole demo and albums of drones. Every second tune is
there to choose thresholds by; what is printed as a result is of the other tunes alone.

Run it after ``python -m eno.demo`` and ``eno embed``: ``python scripts/bench/duplicates.py DATA_ROOT STORE``.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from scipy.ndimage import gaussian_filter1d

from eno.demo.variants import COPIES, Variant, write_audio, write_copies, write_renditions
from eno.embeddings.job import embed_folder
from eno.embeddings.pipeline import LocalExecutor
from eno.embeddings.store import EmbeddingStore
from eno.encoders import Encoder, load_encoder
from eno.similarity.build import build_index
from eno.similarity.copies import SAME, UNCONFIRMED, Pair
from eno.similarity.duplicates import MIN_COSINE, NEIGHBOURS, find_duplicates, likely_pairs
from eno.similarity.index import SimilarityIndex
from eno.similarity.recordings import MIN_COHERENCE, MIN_DETAIL, Likeness, Recording, compare

TWICE = (("trimmed-both", "mp3-64"), ("padded", "opus"), ("22050hz", "mp3-64"), ("mono", "ogg"))
"""What is changed first, and how it is encoded then."""

DRONE_ALBUMS, DRONES = 8, 4
DRONE_S, DRONE_RATE = 30, 44_100
DRONE_COPIES = ("mp3-64", "ogg", "opus", "trimmed-both")


@dataclass
class Truth:
    """What is known of the files.

    ``recording`` and ``kind`` are by track id, and so is ``tune``: its number, of which every second one is for
    choosing; -1 for tracks that nothing was made from.
    """

    recording: dict[str, str] = field(default_factory=dict)
    kind: dict[str, str] = field(default_factory=dict)
    tune: dict[str, int] = field(default_factory=dict)

    def add(self, track_id: str, recording: str, kind: str, tune: int) -> None:
        """Note one file."""
        self.recording[track_id], self.kind[track_id], self.tune[track_id] = recording, kind, tune

    def same(self, first: str, second: str) -> bool:
        """Whether two files are copies of one recording."""
        return self.recording[first] == self.recording[second]

    def is_reported(self, first: str, second: str) -> bool:
        """Whether a pair had no part in choosing."""
        return any(self.tune[track_id] % 2 for track_id in (first, second))  # -1 is odd too


def drone(album: int, track: int) -> np.ndarray:
    """Tones that are held, those of the album, swelling slowly and each by itself [shape=(samples, 1)]."""
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
    """Write albums of drones; gives their names below `folder`."""
    names = []
    for album, track in itertools.product(range(DRONE_ALBUMS), range(DRONES)):
        path = folder / f"album {album}" / f"{track}.flac"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_audio(path, drone(album, track), DRONE_RATE, suffix=".flac")
        names.append(path.relative_to(folder).as_posix())
    return names


def write_files(data_root: Path, sources: list[str], folder: Path) -> Truth:
    """Write everything that is compared; the demo itself becomes ``folder/demo``."""
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
            if copied:  # of a copy, whose suffix is not that of the source
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


def embed_all(folder: Path, demo: EmbeddingStore, encoder: Encoder) -> EmbeddingStore:
    """Embed what was written, and take over the vectors of the demo."""
    store = EmbeddingStore.create(folder.with_name("store"), demo.spec, policy=demo.policy, dtype=demo.dtype)
    embed_folder(folder, encoder, store, executor=LocalExecutor(encoder, demo.policy))
    names, starts_s, vectors = demo.windows()
    with store.writing():
        store.append([f"demo/{name}" for name in names], starts_s, vectors)
    return store


def compare_directly(folder: Path, truth: Truth) -> dict[str, list[Likeness]]:
    """Compare what should not be the same, whether or not the vectors are near; only pairs that are reported."""
    pairs = defaultdict(list)
    by_album = defaultdict(list)
    for track_id, kind in truth.kind.items():
        if kind == "original":
            by_album[str(PurePosixPath(track_id).parent)].append(track_id)
        elif track_id.startswith("renditions/"):
            stem = str(PurePosixPath(*PurePosixPath(track_id).parts[2:]).with_suffix(""))
            source = next(name for name in truth.kind if name.startswith(f"demo/{stem}."))
            pairs[kind].append((source, track_id))
    for album, names in by_album.items():
        kind = "same album of drones" if album.startswith("drones") else "same album"
        if any(truth.tune[name] >= 0 for name in names):
            pairs[kind] += list(itertools.combinations(sorted(names), 2))
    heard: dict[str, Recording] = {}
    found = defaultdict(list)
    for kind, names in pairs.items():
        for first, second in names:
            if truth.is_reported(first, second):
                for track_id in {first, second} - heard.keys():
                    heard[track_id] = Recording.read(folder / track_id)
                found[kind].append(compare(heard[first], heard[second]))
    return found


def print_choice(index: SimilarityIndex, truth: Truth, pairs: list[Pair]) -> None:
    """Show what thresholds can be chosen by: the half of the tunes that is not reported."""
    copies = [pair for pair in positives(truth) if not truth.is_reported(*pair)]
    cosines = [float(np.prod(index.vectors(index.rows_of(pair)), axis=0).sum()) for pair in copies]
    print(f"for choosing: {len(copies)} pairs of a recording and its copy, lowest of all / of 99 % / of 95 %")
    _print_low("cosine", cosines, MIN_COSINE)
    compared = [pair for pair in pairs if not truth.is_reported(pair.first, pair.second)]
    for name, threshold in (("coherence", MIN_COHERENCE), ("detail", MIN_DETAIL)):
        values: dict[bool, list[float]] = {True: [], False: []}
        for pair in compared:
            if pair.likeness.offset_s is not None:
                values[truth.same(pair.first, pair.second)].append(getattr(pair.likeness, name))
        _print_low(name, values[True], threshold)
        highest = max(values[False], default=0.0)
        print(f"  {'':<10} others that have an offset: {len(values[False])}, at most {highest:.3f}")
    print()


def _print_low(name: str, values: list[float], threshold: float) -> None:
    low = np.quantile(values, [0, 0.01, 0.05])
    print(f"  {name:<10} {low[0]:.3f} / {low[1]:.3f} / {low[2]:.3f}; the threshold is {threshold}")


def positives(truth: Truth) -> list[tuple[str, str]]:
    """Pairs of a recording and a copy of it."""
    return [(recording, track_id) for track_id, recording in truth.recording.items() if recording != track_id]


def print_results(index: SimilarityIndex, truth: Truth, pairs: list[Pair], direct: dict[str, list[Likeness]]) -> None:
    """Show recall by kind of copy, false ones by kind of other, and precision and recall of all."""
    decided = {frozenset((pair.first, pair.second)): pair.decision for pair in pairs}
    candidates = {frozenset(index.ids[row]) for row in likely_pairs(index)[0]}
    by_kind = defaultdict(list)
    for pair in positives(truth):
        if truth.is_reported(*pair):
            by_kind[truth.kind[pair[1]]].append(frozenset(pair))
    print(f"{'copies':<24} {'pairs':>6} {'candidates':>11} {'same':>6} {'unsure':>7} {'recall':>7}")
    totals = np.zeros(4, int)
    for kind in (*COPIES, *(", ".join(two) for two in TWICE), "drone"):
        keys = by_kind[kind]
        found = [decided.get(key) for key in keys]
        row = len(keys), sum(key in candidates for key in keys), found.count(SAME), found.count(UNCONFIRMED)
        totals += row
        print(f"{kind:<24} {row[0]:>6} {row[1]:>11} {row[2]:>6} {row[3]:>7} {row[2] / max(1, row[0]):>7.3f}")
    print(f"\n{'others, all compared':<24} {'pairs':>6} {'same':>6} {'unsure':>7}")
    for kind, found in direct.items():
        same = [likeness.same for likeness in found]
        print(f"{kind:<24} {len(same):>6} {same.count(True):>6} {same.count(None):>7}")
    confirmed = [pair for pair in pairs if pair.decision == SAME and truth.is_reported(pair.first, pair.second)]
    right = sum(truth.same(pair.first, pair.second) for pair in confirmed)
    print(f"\nall {len(pairs)} candidates among {len(index)} files, of those reported:")
    print(f"precision {right / max(1, len(confirmed)):.4f} ({right} of {len(confirmed)} pairs called the same)")
    print(f"recall    {totals[2] / totals[0]:.4f} ({totals[2]} of {totals[0]} copies found)")
    print(f"          {totals[1] / totals[0]:.4f} of the search by vectors alone ({totals[0] - totals[1]} lost)")
    for pair in confirmed:
        if not truth.same(pair.first, pair.second):
            print(f"wrong: {pair.first} and {pair.second}: {pair.likeness}")


def main() -> None:
    """Write, embed, search and judge; print tables and times."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data_root", type=Path, help="folder of the demo corpus")
    parser.add_argument("store", type=Path, help="store of the demo's tracks")
    parser.add_argument("--tracks", type=int, default=24, help="tracks that copies are made of")
    arguments = parser.parse_args()
    demo = EmbeddingStore.open(arguments.store)
    ids = demo.track_ids()
    sources = ids[7 :: max(1, len(ids) // arguments.tracks)][: arguments.tracks]
    began = time.perf_counter()

    def lap(what: str) -> None:
        nonlocal began
        print(f"{what}: {time.perf_counter() - began:.0f} s")
        began = time.perf_counter()

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "audio"
        folder.mkdir()
        truth = write_files(arguments.data_root, sources, folder)
        lap(f"{len(truth.kind) - len(ids)} files written")
        encoder = load_encoder(demo.spec.name, device="cpu", **demo.spec.options)
        store = embed_all(folder, demo, encoder)
        lap(f"embedded with {demo.spec.label}")
        index = build_index(store)
        found = find_duplicates(index, audio_root=folder)
        lap(f"{len(found.pairs)} candidates ({NEIGHBOURS} neighbours, cosine ≥ {MIN_COSINE}) compared")
        direct = compare_directly(folder, truth)
        lap(f"{sum(map(len, direct.values()))} others compared")
        print(f"{os.cpu_count()} cores\n")
        print_choice(index, truth, found.pairs)
        print_results(index, truth, found.pairs, direct)


if __name__ == "__main__":
    main()
