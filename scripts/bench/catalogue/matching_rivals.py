"""Match the tests' pairs of albums as one would without eno: equal names, or the most similar names by rapidfuzz.

python -m scripts.bench.catalogue.matching_rivals

Recall and precision as in `tests/data/matching/test_matching_pairs.py`, which leaves out the pairs marked as impossible
to tell. For rapidfuzz it prints several thresholds, so that nobody has to guess a good one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from rapidfuzz import fuzz, process
from rapidfuzz.utils import default_process

from tests.data.matching.test_matching_pairs import catalogue, precision_and_recall, results

Decision = tuple[dict, str | None, str]


def equal_names(rows: list[dict], names: dict[str, str]) -> Iterator[str | None]:
    """Yield the album whose artist and title are the same but for case and punctuation, unless there are several."""
    albums: dict[str, list[str]] = {}
    for file_name, name in names.items():
        albums.setdefault(name, []).append(file_name)
    for row in rows:
        found = albums.get(default_process(f"{row['artist']} {row['album']}"), [])
        yield found[0] if len(found) == 1 else None


def similar_names(scorer: Callable[..., float], threshold: float) -> Callable[..., Iterator[str | None]]:
    """Return a matcher that takes the album with the most similar names if that is similar enough."""

    def matcher(rows: list[dict], names: dict[str, str]) -> Iterator[str | None]:
        files = list(names)
        queries = [default_process(f"{row['artist']} {row['album']}") for row in rows]
        scores = process.cdist(queries, list(names.values()), scorer=scorer, workers=-1)
        for row, best in zip(scores, scores.argmax(axis=1), strict=True):
            yield files[best] if row[best] >= threshold else None

    return matcher


def main() -> None:
    """Print a row per matcher and set of pairs."""
    matchers = {"equal names": equal_names}
    for scorer in (fuzz.ratio, fuzz.token_set_ratio, fuzz.WRatio):
        for threshold in (85, 90, 95, 100):
            matchers[f"{scorer.__name__} ≥ {threshold}"] = similar_names(scorer, threshold)
    for prefix, label in (("", "367 pairs by hand"), ("independent_", "1,018 pairs by another author")):
        print(f"\n{label}: precision, recall")
        decisions = results(prefix)
        _show("eno", decisions)
        rows = [row for row, _, _ in decisions]
        albums = catalogue(prefix)
        names = {
            album["file_name"].removeprefix("release/"): default_process(
                f"{' '.join(artist['name'] for artist in album['artists'])} {album['name']}"
            )
            for album in albums.to_pylist()
        }
        for name, matcher in matchers.items():
            _show(name, [(row, found, "") for row, found in zip(rows, matcher(rows, names), strict=True)])


def _show(name: str, decisions: list[Decision]) -> None:
    precision, recall, _ = precision_and_recall(decisions)
    print(f"{name:24} {precision:.3f} {recall:.3f}")


if __name__ == "__main__":
    main()
