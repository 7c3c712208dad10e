"""Whether familiarity tells music like that of training from other sounds: AUROC of eno and of simpler measures.

Three comparisons. The first two were used to choose how eno measures familiarity; the third reports it:

- ``--gtzan``: fitted without one genre; the test tracks of this genre against the others, for each genre in turn.
- ``--others``: fitted on two thirds of all folders but one; the rest against this folder, for each folder in turn.
- ``--root``: fitted on the demo's tracks that are not test tracks; its test tracks (other instruments) against the
  folders, noise, and MIDI files that are rendered with other soundfonts.

    python -m scripts.bench.familiarity --gtzan TRAIN.npz TEST.npz
    python -m scripts.bench.familiarity --root data/demo --others games=FOLDER --midi FOLDER --soundfonts A.sf2

Folders are embedded with the encoder and the windows of the demo's store for both checkpoints of musicnn. With
``--work``, rendered files and vectors are kept there. Of every folder, 25 files at most are used.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler, normalize

from eno.data.layout import DataRoot
from eno.data.library.files import find_tracks
from eno.encoders import load_encoder
from eno.models.familiarity import Familiarity, is_unfamiliar
from scripts.bench.tagging.problems import embedded, of_gtzan, of_store

Measure = Callable[[np.ndarray, np.ndarray], np.ndarray]  # of training rows and other rows; larger is less familiar

_RATE, _SECONDS = 44_100, 30
_FILES, _FEWEST, _NOISES = 25, 10, 8
_DRAWS = 3


def _by_eno(known: np.ndarray, rows: np.ndarray) -> np.ndarray:
    fitted = Familiarity.fit(known, np.arange(len(known)))
    assert fitted is not None
    return -fitted.of(rows)


def _to_neighbours(known: np.ndarray, rows: np.ndarray) -> np.ndarray:
    found: np.ndarray = NearestNeighbors(n_neighbors=5).fit(known).kneighbors(rows)[0].mean(axis=1)
    return found


def _standardised(measure: Measure) -> Measure:
    def of(known: np.ndarray, rows: np.ndarray) -> np.ndarray:
        scaler = StandardScaler().fit(known)
        return measure(scaler.transform(known), scaler.transform(rows))

    return of


MEASURES: dict[str, Measure] = {
    "eno": _by_eno,
    "5 nearest neighbours, standardised": _standardised(_to_neighbours),
    "5 nearest neighbours, by cosine": lambda known, rows: _to_neighbours(normalize(known), normalize(rows)),
    "Mahalanobis distance": _standardised(lambda known, rows: LedoitWolf().fit(known).mahalanobis(rows)),
    "distance to the mean": _standardised(lambda _, rows: np.linalg.norm(rows, axis=1)),
}


def auroc(familiar: np.ndarray, others: np.ndarray) -> float:
    """Return the probability that another sound has a larger value than a familiar one."""
    truth = np.arange(len(familiar) + len(others)) >= len(familiar)
    return float(roc_auc_score(truth, np.concatenate([familiar, others])))


def without_a_genre(train: Path, test: Path, folder: Path) -> None:
    """Print the mean and the values of the genres."""
    (problem,) = of_gtzan(folder, train, test)
    X, X_test = (np.asarray(problem.vectors(part), np.float64) for part in ("train", "test"))
    genre, genre_test = (problem.labels(part).toarray().argmax(axis=1) for part in ("train", "test"))
    for name, measure in MEASURES.items():
        found = []
        for one in np.unique(genre):
            values = measure(X[genre != one], X_test)
            found.append(auroc(values[genre_test != one], values[genre_test == one]))
        _show("GTZAN", name, np.mean(found), found)


def without_a_folder(X: np.ndarray, folders: np.ndarray, names: Sequence[str]) -> None:
    """Print the mean and the values of the folders that have enough files."""
    names = [name for name in names if (folders == name).sum() >= _FEWEST]
    print("folders:", *names)
    for name, measure in MEASURES.items():
        found = []
        for one in names:
            draws = []
            for seed in range(_DRAWS):
                in_training = np.zeros(len(X), bool)
                random = np.random.default_rng(seed)
                for other in set(names) - {one}:
                    rows = random.permutation(np.flatnonzero(folders == other))
                    in_training[rows[: 2 * len(rows) // 3]] = True
                rest = np.isin(folders, names) & (folders != one) & ~in_training
                draws.append(auroc(*(measure(X[in_training], X[rows]) for rows in (rest, folders == one))))
            found.append(float(np.mean(draws)))
        _show("folder left out", name, np.mean(found), found)


def demo_against(root: Path, store: Path, X: np.ndarray, folders: np.ndarray, folder: Path) -> None:
    """Print the value of all other sounds and of each folder, and how many tracks eno calls unfamiliar."""
    (problem,) = of_store(folder, store, DataRoot(root))
    train, test = (np.asarray(problem.vectors(part), np.float64) for part in ("train", "test"))
    names = np.unique(folders)
    print("other sounds:", *(f"{name} ({(folders == name).sum()})" for name in names))
    for name, measure in MEASURES.items():
        familiar, others = measure(train, test), measure(train, X)
        _show("demo", name, auroc(familiar, others), [auroc(familiar, others[folders == one]) for one in names])
    fitted = Familiarity.fit(train, problem.groups("train"))
    assert fitted is not None
    for what, rows in (("test tracks", test), ("other sounds", X)):
        print(f"unfamiliar {what}: {np.mean([is_unfamiliar(value) for value in fitted.of(rows)]):.1%}")


def _show(comparison: str, name: str, value: float, parts: list[float]) -> None:
    print(f"{comparison:<16} {name:<36} {value:.3f}   " + " ".join(f"{one:.2f}" for one in parts), flush=True)


def collect(chosen: argparse.Namespace, folder: Path) -> Path:
    """Link, make and render the other sounds, one folder each."""
    for name, source in (one.split("=", 1) for one in chosen.others):
        found = find_tracks(Path(source))
        _link(name, [track.path for track in found], folder)
    for soundfont in chosen.soundfonts:
        (folder / f"MIDI {soundfont.stem}").mkdir(parents=True, exist_ok=True)
        for score in _some(sorted(chosen.midi.rglob("*.mid"))):
            _render(score, soundfont, folder / f"MIDI {soundfont.stem}" / f"{score.stem}.wav")
    (folder / "noise").mkdir(parents=True, exist_ok=True)
    for number, samples in enumerate(_noises()):
        soundfile.write(folder / "noise" / f"{number}.wav", samples, _RATE)
    return folder


def _link(name: str, files: list[Path], folder: Path) -> None:
    (folder / name).mkdir(parents=True, exist_ok=True)
    for number, file in enumerate(_some(files)):
        link = folder / name / f"{number}{file.suffix}"
        link.unlink(missing_ok=True)
        os.symlink(file.resolve(), link)


def _some(files: list[Path]) -> list[Path]:
    return [files[number] for number in np.random.default_rng(0).permutation(len(files))[:_FILES]]


def _render(score: Path, soundfont: Path, path: Path) -> None:
    import symusic

    if not path.exists():
        synthesiser = symusic.Synthesizer(soundfont, _RATE)
        samples = np.asarray(synthesiser.render(symusic.Score(score), stereo=True)).T[: _SECONDS * _RATE]
        soundfile.write(path, 0.7 * samples / max(np.abs(samples).max(), 1e-9), _RATE)  # eno leaves silent files out


def _noises() -> Iterator[np.ndarray]:
    """White and brown noise, half of them interrupted at a regular rate."""
    random, times = np.random.default_rng(0), np.arange(_SECONDS * _RATE) / _RATE
    for number in range(_NOISES):
        samples = random.standard_normal(len(times))
        if number % 2:
            samples = np.cumsum(samples)
        if number >= _NOISES // 2:
            samples *= np.sin(2 * np.pi * (number - 2) * times) > 0
        yield 0.5 * samples / np.abs(samples).max()


def main() -> None:
    """Make the comparisons that are named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gtzan", nargs=2, type=Path, metavar=("TRAIN", "TEST"))
    parser.add_argument("--root", type=Path, help="folder of the demo")
    parser.add_argument("--others", nargs="+", default=[], metavar="NAME=FOLDER", help="audio of other music")
    parser.add_argument("--midi", type=Path, help="folder with MIDI files")
    parser.add_argument("--soundfonts", nargs="+", type=Path, default=[])
    parser.add_argument("--work", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = chosen.work or Path(temporary)
        if chosen.gtzan:
            without_a_genre(*chosen.gtzan, work / "gtzan")
        if chosen.root:
            encoder = load_encoder("musicnn", checkpoint="both")
            ids, X = embedded(encoder, collect(chosen, work / "audio"), work / "store")
            folders = np.array([one.split("/")[0] for one in ids])
            without_a_folder(X, folders, [one.partition("=")[0] for one in chosen.others])
            demo_against(chosen.root, chosen.root / "embeddings" / encoder.spec.label, X, folders, work / "demo")


if __name__ == "__main__":
    main()
