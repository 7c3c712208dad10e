"""What the spaces of `eno.similarity.index.space` do to the neighbours of the demo's tracks.

Writes renditions and copies of some tracks, embeds them as the demo was embedded, and asks in every space of every
encoder:

- *tune*: a rendition (another take, instrument, tempo or key) is the query; the reciprocal rank of the track that it
  was played after, and how often that is first and among the first ten;
- *genre*, *composer* (or collection), *family* of the instrument: the share of the ten nearest tracks that have it in
  common with the query, whose own album is left out;
- *hubness*: skewness of the number of tracks among whose ten nearest a track is (M. Radovanović et al., "Hubs in
  space", JMLR 2010); 0 where nothing is near to everything;
- *codec*: how often the nearest of all tracks to a copy in another format, sample rate or in mono is the one that it is
  a copy of.

The rule by which the default is chosen: spaces are fitted on the whole collection, without labels, as in use. Albums
are divided into two halves. On the first, the mean over encoders of the mean of tune (reciprocal rank), genre, composer
and family (shares) decides, among the spaces whose codec figure is at most 0.01 below the best; where two are less than
0.005 apart, the lesser hubness does. Figures are shown of the second half.

Run it with ``python scripts/bench/spaces.py [--root data/demo] [--work FOLDER]``, after ``make demo``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from scipy.stats import skew

from eno.data.layout import DataRoot
from eno.demo.stores import embed_corpus
from eno.demo.variants import RENDITIONS, write_copies, write_renditions
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.files import write_json
from eno.similarity.index.space import DEFAULT_METHOD, METHODS, Space

ENCODERS = ("stats", "musicnn-mtt", "musicnn-msd", "musicnn-both")
FORMATS = ("mp3-64", "mp3-320", "ogg", "opus", "22050hz", "mono")
NEAREST = 10
MEASURES = ("tune", "genre", "composer", "family")
FAMILIES = [*"piano organ guitar strings brass reeds flutes mallets voices".split(), "plucked strings"]

Results = dict[tuple[str, str], dict[str, Any]]  # by encoder and space, see `judge`


@dataclass
class Facts:
    """What is known of every track of the collection, in the order of its rows."""

    ids: list[str]
    album: np.ndarray
    first_half: np.ndarray
    alike: dict[str, np.ndarray]  # of each measure [shape=(n, n)]: whether two tracks have it in common


def read_facts(data: DataRoot, ids: list[str], seed: int) -> Facts:
    """Join tracks and albums."""
    albums = {row["file_name"]: row for row in pq.read_table(data.albums).to_pylist()}
    names = ["/".join(track_id.split("/")[:-1]) for track_id in ids]
    number = {name: at for at, name in enumerate(sorted(set(names)))}
    rows = [albums[name] for name in names]
    shared: dict[str, Callable[[dict[str, Any]], set[str]]] = {
        "genre": lambda row: set(row["primary_genres"]),
        "composer": lambda row: {credit["artist"]["name"] for credit in row["credits"]},
        "family": lambda row: set(row["descriptors"]) & set(FAMILIES),
    }
    alike = {}
    for measure, of in shared.items():
        sets = [of(row) for row in rows]
        alike[measure] = np.array([[bool(one & other) for other in sets] for one in sets])
    album = np.array([number[name] for name in names])
    half = np.random.default_rng(seed).permutation(len(number)) % 2 == 0
    return Facts(ids, album, half[album], alike)


def make_variants(data: DataRoot, work: Path, ids: list[str], tracks: int, seed: int) -> list[dict[str, str]]:
    """Write renditions and, of half as many tracks, copies; once. Rows of ``track_id``, ``source`` and ``kind``."""
    listed = work / "variants.json"
    if not listed.is_file():
        chosen = np.random.default_rng(seed).permutation(ids)[:tracks].tolist()
        variants = write_renditions(data.root, chosen, work / "audio", seed=seed)
        variants += write_copies(data.audio, chosen[: tracks // 2], work / "audio", kinds=FORMATS)
        rows = [
            {"track_id": v.path.relative_to(work / "audio").as_posix(), "source": v.source_track_id, "kind": v.kind}
            for v in variants
        ]
        write_json(listed, rows)
    listed_rows: list[dict[str, str]] = json.loads(listed.read_text("utf-8"))
    return listed_rows


def judge(collection: np.ndarray, queries: np.ndarray, variants: list[dict[str, str]], facts: Facts) -> dict[str, Any]:
    """Judge one space.

    Parameters
    ----------
    collection, queries : np.ndarray [shape=(n, dim), (q, dim)]
        The collection and the variants, in the space.

    Returns
    -------
    dict
        Of each half ("choose", "report") a dict of figures; besides these the hubness.
    """
    cosines = collection @ collection.T
    np.fill_diagonal(cosines, -np.inf)
    counts = np.bincount(nearest(cosines).ravel(), minlength=len(cosines))
    cosines[facts.album[:, np.newaxis] == facts.album] = -np.inf
    others = nearest(cosines)
    places = {track_id: row for row, track_id in enumerate(facts.ids)}
    source = np.array([places[row["source"]] for row in variants])
    to_all = queries @ collection.T
    rank = 1 + (to_all > to_all[np.arange(len(source)), source][:, np.newaxis]).sum(axis=1)
    kind = np.array([row["kind"] for row in variants])
    result: dict[str, Any] = {"hubness": float(skew(counts))}
    for name, half in (("choose", facts.first_half), ("report", ~facts.first_half)):
        tune, codec = (rank[np.isin(kind, kinds) & half[source]] for kinds in (RENDITIONS, FORMATS))
        figures = {"tune": (1 / tune).mean(), "tune@1": (tune == 1).mean(), "tune@10": (tune <= NEAREST).mean()}
        figures["codec"] = (codec == 1).mean()
        for measure, alike in facts.alike.items():
            figures[measure] = np.take_along_axis(alike, others, axis=1)[half].mean()
        for one in RENDITIONS:
            figures[one] = (1 / rank[(kind == one) & half[source]]).mean()
        result[name] = {key: float(value) for key, value in figures.items()}
    return result


def nearest(cosines: np.ndarray) -> np.ndarray:
    """Columns of the largest values of each row [shape=(n, 10)]."""
    return np.argpartition(-cosines, NEAREST, axis=1)[:, :NEAREST]


def by_chance(facts: Facts) -> dict[str, float]:
    """What neighbours drawn from other albums have in common with a track, in the half that is reported."""
    other = facts.album[:, np.newaxis] != facts.album
    share = {measure: (alike & other).sum(axis=1) / other.sum(axis=1) for measure, alike in facts.alike.items()}
    return {measure: float(values[~facts.first_half].mean()) for measure, values in share.items()}


def over_encoders(results: Results, method: str, figure: Callable[[dict[str, Any]], float]) -> float:
    """Mean of a figure of one space over the encoders."""
    return float(np.mean([figure(result) for (_, name), result in results.items() if name == method]))


def means(results: Results, half: str) -> dict[str, float]:
    """By space, what the rule goes by."""
    return {
        method: over_encoders(results, method, lambda one: float(np.mean([one[half][name] for name in MEASURES])))
        for method in METHODS
    }


def choose(results: Results) -> str:
    """Apply the rule."""
    codec = {method: over_encoders(results, method, lambda one: one["choose"]["codec"]) for method in METHODS}
    mean = means(results, "choose")
    allowed = [method for method in METHODS if codec[method] >= max(codec.values()) - 0.01]
    best = max(mean[method] for method in allowed)
    close = [method for method in allowed if mean[method] >= best - 0.005]
    return min(close, key=lambda method: over_encoders(results, method, lambda one: one["hubness"]))


def show(results: Results, chance: dict[str, float]) -> None:
    """Print the table."""
    columns = ("tune", "tune@1", "tune@10", *RENDITIONS, "genre", "composer", "family", "codec")
    print(f"{'encoder':<14}{'space':<18}" + "".join(f"{name:>11}" for name in columns) + f"{'hubness':>9}")
    for (encoder, method), result in results.items():
        figures = "".join(f"{result['report'][name]:>11.3f}" for name in columns)
        print(f"{encoder:<14}{method:<18}{figures}{result['hubness']:>9.2f}")
    print(
        f"{'':<14}{'by chance':<18}"
        + "".join(f"{chance[name]:>11.3f}" if name in chance else f"{'':>11}" for name in columns)
    )


def main() -> None:
    """Print a row for each encoder and space, then what the rule chooses."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", type=Path, default=Path("data/demo"), help="the demo")
    parser.add_argument("--work", type=Path, help="keeps variants and their vectors for the next run")
    parser.add_argument("--tracks", type=int, default=100, help="tracks of which renditions are made")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    data = DataRoot(arguments.root)
    with tempfile.TemporaryDirectory() as scratch:
        work = arguments.work or Path(scratch)
        ids = pq.read_table(data.tracks, columns=["track_id"])["track_id"].to_pylist()
        variants = make_variants(data, work, ids, arguments.tracks, arguments.seed)
        stores = embed_corpus(work / "audio", work / "embeddings", ENCODERS)
        facts = read_facts(data, ids, arguments.seed)
        results: Results = {}
        for encoder, store in stores.items():
            known = EmbeddingStore.open(arguments.root / "embeddings" / store.spec.label)
            if known.policy != store.policy:
                parser.error(f"{known.path}: holds {known.policy}, the variants {store.policy}; run 'make demo' anew.")
            collection = known.matrix(ids)[1]
            queries = store.matrix([row["track_id"] for row in variants])[1]
            for method in METHODS:
                space = Space.fit(collection, method=method, seed=arguments.seed)
                results[encoder, method] = judge(space.apply(collection), space.apply(queries), variants, facts)
    show(results, by_chance(facts))
    for half, name in (("choose", "first"), ("report", "second")):
        print(
            f"mean of the {name} half: " + ", ".join(f"{one} {mean:.3f}" for one, mean in means(results, half).items())
        )
    print(f"chosen by the first half: {choose(results)}; the default is {DEFAULT_METHOD}")


if __name__ == "__main__":
    main()
