"""What it brings that labels belong to albums, that families of them are missing, and that they have a hierarchy.

On synthetic collections: tracks of albums of artists, whose vectors and labels share latents of the artist and of the
album. Genres have a hierarchy; half of the albums lack their genres and half their descriptors, not at random but by
artist, as where few people listen. Test albums are complete. Means over the collections, with the standard error of
the difference to the first row.

    python -m scripts.bench.album_labels --missing --heads linear mlp lightgbm forest knn
    python -m scripts.bench.album_labels --hierarchy
    python -m scripts.bench.album_labels --sizes
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from eno.evaluation.metrics import evaluate
from eno.models import create_head
from eno.models.aggregation import aggregate
from eno.models.average_precision import macro_map
from eno.models.calibration.calibrate import fit_calibration
from eno.models.hierarchy import agree, raise_ancestors
from eno.models.label_weights import LabelWeights

_ROOTS, _CHILDREN, _DESCRIPTORS, _LATENTS, _DIM = 8, 32, 30, 24, 64
_FAMILY = np.repeat([0, 1], [_ROOTS + _CHILDREN, _DESCRIPTORS])
_ANCESTORS = np.stack([_ROOTS + np.arange(_CHILDREN), np.arange(_CHILDREN) % _ROOTS], axis=1)
_RATES = np.concatenate(
    [np.full(_ROOTS, 0.08), np.linspace(0.15, 0.02, _CHILDREN), np.linspace(0.25, 0.03, _DESCRIPTORS)]
)


@dataclass(frozen=True)
class Tracks:
    """Vectors, labels, which families are known [shape=(n, 2)], and the numbers of albums and artists."""

    X: np.ndarray
    Y: np.ndarray
    known: np.ndarray
    albums: np.ndarray
    artists: np.ndarray

    @property
    def weights(self) -> LabelWeights:
        """0 for labels of unknown families."""
        return LabelWeights.of_families(self.known, _FAMILY)


def collection(seed: int, *, artists: int = 100, missing: bool = False, uneven: bool = False) -> tuple[Tracks, Tracks]:
    """Return training and test tracks of different artists; albums have 5 to 8 tracks, or, if uneven, 1 to 60."""
    rng = np.random.default_rng(seed)
    to_vectors = rng.standard_normal((_LATENTS, _DIM)) / np.sqrt(_LATENTS)
    to_labels = rng.standard_normal((_LATENTS, len(_RATES))) / np.sqrt(_LATENTS)
    to_labels[:, _ANCESTORS[:, 0]] = 0.8 * to_labels[:, _ANCESTORS[:, 0]] + 0.6 * to_labels[:, _ANCESTORS[:, 1]]

    def part(complete: bool) -> Tracks:
        albums = rng.integers(1, 6, artists)
        of_artist, artist = rng.standard_normal((artists, _LATENTS)), np.repeat(np.arange(artists), albums)
        latents = 0.8 * of_artist[artist] + 0.6 * rng.standard_normal((len(artist), _LATENTS))
        scores = latents @ to_labels + 0.5 * rng.standard_normal((len(artist), len(_RATES)))
        labels = raise_ancestors((scores > norm.isf(_RATES, scale=np.sqrt(1.25))).astype(np.float32), _ANCESTORS)
        known = 0.8 * rng.standard_normal((len(artist), 2)) + of_artist[artist, :2] > (-np.inf if complete else 0)
        sizes = (
            np.exp(rng.normal(1.8, 1, len(artist))).round().clip(1, 60) if uneven else rng.integers(5, 9, len(artist))
        )
        album = np.repeat(np.arange(len(artist)), sizes.astype(int))
        of_tracks = latents[album] + 0.9 * rng.standard_normal((len(album), _LATENTS))
        X = of_tracks @ to_vectors + 0.5 * rng.standard_normal((len(album), _DIM))
        return Tracks(X.astype(np.float32), (labels * known[:, _FAMILY])[album], known[album], album, artist[album])

    return part(not missing), part(True)


Scores = dict[str, float]


def fit(
    head: str, tracks: Tracks, test: Tracks, weights: LabelWeights | None
) -> tuple[np.ndarray, np.ndarray, LabelWeights | None, np.ndarray]:
    """Fit on most artists; return the other rows, their probabilities and weights, and those of the test rows."""
    held_out = tracks.artists % 5 == 0
    rows, rows_val = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    given = {} if weights is None else {"sample_weight": weights[rows], "sample_weight_val": weights[rows_val]}
    fitted = create_head(head).fit(tracks.X[rows], tracks.Y[rows], tracks.X[rows_val], tracks.Y[rows_val], **given)
    found = fitted.predict_proba(tracks.X[rows_val])
    return rows_val, found, None if weights is None else weights[rows_val], fitted.predict_proba(test.X)


def missing_families(seed: int, heads: list[str]) -> dict[str, Scores]:
    """Families that are missing as negatives, and as unknown, against complete labels."""
    results = {}
    for head in heads:
        for name, missing, masked in (
            ("as negatives", True, False),
            ("as unknown", True, True),
            ("complete", False, False),
        ):
            tracks, test = collection(seed, missing=missing)
            rows, found, weights, probabilities = fit(head, tracks, test, tracks.weights if masked else None)
            known = None if weights is None else weights.known()
            calibration = fit_calibration(found, tracks.Y[rows], groups=tracks.artists[rows], known=known)
            result = evaluate(test.Y, calibration.apply(probabilities), thresholds=calibration.thresholds)
            results[f"{head}, {name}"] = {
                key: getattr(result, key) for key in ("map_macro", "lrap", "f1_macro", "f1_micro", "ece")
            }
    return results


def hierarchy(seed: int, heads: list[str]) -> dict[str, Scores]:
    """Genres as they are predicted, and in agreement with the hierarchy."""
    results = {}
    for head in heads:
        tracks, test = collection(seed)
        rows, found, _, probabilities = fit(head, tracks, test, None)
        calibration = fit_calibration(found, tracks.Y[rows], groups=tracks.artists[rows])
        raw, limits = calibration.apply(probabilities), calibration.thresholds
        raised = raise_ancestors(raw, _ANCESTORS)
        higher, lower = limits.copy(), limits.copy()
        np.maximum.at(higher, _ANCESTORS[:, 0], limits[_ANCESTORS[:, 1]])
        np.minimum.at(lower, _ANCESTORS[:, 1], limits[_ANCESTORS[:, 0]])
        lifted = agree(raw, limits, _ANCESTORS)
        ways = {
            "as predicted": (raw, raw > limits),
            "parents raised": (raised, raised > limits),
            "and above thresholds (as eno does)": (lifted, lifted > limits),
            "and lower thresholds of parents": (raised, raised > lower),
            "and higher thresholds of children": (raised, raised > higher),
            "children lowered": (lowered := _lowered(raw), _named(lowered > limits)),
        }
        for name, (values, named) in ways.items():
            results[f"{head}, {name}"] = _of_genres(test.Y, values, named)
    return results


def _named(decisions: np.ndarray) -> np.ndarray:
    return raise_ancestors(decisions.astype(np.float32), _ANCESTORS) > 0


def _lowered(probabilities: np.ndarray) -> np.ndarray:
    lowered = probabilities.copy()
    lowered[:, _ANCESTORS[:, 0]] = np.minimum(probabilities[:, _ANCESTORS[:, 0]], probabilities[:, _ANCESTORS[:, 1]])
    return lowered


def _of_genres(Y: np.ndarray, probabilities: np.ndarray, named: np.ndarray) -> Scores:
    parents, children = np.arange(_ROOTS), np.arange(_ROOTS, _ROOTS + _CHILDREN)
    genres = np.arange(_ROOTS + _CHILDREN)
    whole = evaluate(Y[:, genres], probabilities[:, genres])
    decided = evaluate(Y[:, genres], named[:, genres].astype(np.float32))
    of_parents = evaluate(Y[:, parents], named[:, parents].astype(np.float32))
    of_children = evaluate(Y[:, children], named[:, children].astype(np.float32))
    orphans = named[:, _ANCESTORS[:, 0]] & ~named[:, _ANCESTORS[:, 1]]
    return {
        "map_macro": whole.map_macro, "lrap": whole.lrap, "ece": whole.ece, "f1_macro": decided.f1_macro,
        "f1_micro": decided.f1_micro, "f1_parents": of_parents.f1_macro, "f1_children": of_children.f1_macro,
        "orphans": orphans.sum() / max(1, named[:, _ANCESTORS[:, 0]].sum()),
    }  # fmt: skip


def album_sizes(seed: int, heads: list[str]) -> dict[str, Scores]:
    """Weights of tracks of albums with very different numbers of them."""
    results = {}
    for head in heads:
        tracks, test = collection(seed, uneven=True)
        sizes = np.bincount(tracks.albums)[tracks.albums]
        for name, power in (("tracks alike", 0.0), ("1 / sqrt(tracks)", 0.5), ("1 / tracks", 1.0)):
            values = sizes**-power
            weights = LabelWeights.of(values / values.mean(), tracks.Y.shape)
            probabilities = fit(head, tracks, test, weights)[3]
            first = np.sort(np.unique(test.albums, return_index=True)[1])
            of_albums = aggregate(probabilities, test.albums.astype(str))[1]
            results[f"{head}, {name}"] = {
                "map_tracks": macro_map(test.Y, probabilities) or 0,
                "map_albums": macro_map(test.Y[first], of_albums) or 0,
            }
    return results


def main() -> None:
    """Measure what is named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--missing", action="store_true")
    parser.add_argument("--hierarchy", action="store_true")
    parser.add_argument("--sizes", action="store_true")
    parser.add_argument("--heads", nargs="+", default=["linear", "mlp"])
    parser.add_argument("--collections", type=int, default=5)
    chosen = parser.parse_args()
    measures = {"missing": missing_families, "hierarchy": hierarchy, "sizes": album_sizes}
    for name, measure in measures.items():
        if not getattr(chosen, name):
            continue
        found = defaultdict(list)
        for seed in range(chosen.collections):
            for row, scores in measure(seed, chosen.heads).items():
                found[row].append(list(scores.values()))
        print(f"\n{name}: {', '.join(scores)}", flush=True)
        for row, values in found.items():
            first = next(other for key, other in found.items() if key.split(",")[0] == row.split(",")[0])
            error = (np.array(values) - first).std(axis=0, ddof=1) / np.sqrt(chosen.collections)
            shown = "  ".join(
                f"{mean:.4f} ±{one:.4f}" for mean, one in zip(np.mean(values, axis=0), error, strict=True)
            )
            print(f"{row:<42} {shown}", flush=True)


if __name__ == "__main__":
    main()
