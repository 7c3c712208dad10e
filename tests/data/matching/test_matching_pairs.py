"""Precision and recall of matching by name, on hard pairs written by hand."""

import csv
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from eno.data.lute.albums import ALBUM_SCHEMA
from eno.data.matching.candidates import AlbumIndex, LocalAlbum
from eno.data.matching.deciding import decide

FOLDER = Path(__file__).parent


def _rows(name: str) -> list[dict]:
    with (FOLDER / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _lengths(text: str) -> tuple[int, ...]:
    return () if not text or text.startswith("n=") else tuple(map(int, text.split()))


def catalogue(prefix: str = "") -> pa.Table:
    albums = [
        {
            "file_name": f"release/{row['file_name'].removeprefix('release/')}",
            "name": row["name"],
            "artists": [{"name": name, "file_name": None} for name in row["artists"].split(" | ")],
            "release_date": row["release_date"],
            "tracks": [{"duration_seconds": length} for length in _lengths(row["tracks"])],
        }
        for row in _rows(f"{prefix}catalogue.csv")
    ]
    # The path of the artist is in that of the album, as on RateYourMusic.
    for album in albums:
        if len(album["artists"]) == 1:
            album["artists"][0]["file_name"] = f"artist/{album['file_name'].split('/')[2]}"
    return pa.Table.from_pylist(albums, schema=ALBUM_SCHEMA)


def results(prefix: str = "") -> list[tuple[dict, str | None, str]]:
    albums = catalogue(prefix)
    names, index, rows = albums["file_name"].to_pylist(), AlbumIndex(albums), _rows(f"{prefix}local.csv")
    found = []
    for row, candidates in zip(rows, index.candidates_of(list(map(_local, rows))), strict=True):
        decision = decide(candidates, names)
        row["expected"] = row["expected"].removeprefix("release/")
        chosen = decision.file_name and decision.file_name.removeprefix("release/")
        found.append((row, chosen, f"{decision.decision}, {decision.score:.2f}: {decision.reason}"))
    return found


def _local(row: dict) -> LocalAlbum:
    count = int(row["tracks"][2:]) if row["tracks"].startswith("n=") else len(_lengths(row["tracks"])) or None
    year = int(row["year"]) if row["year"] else None
    return LocalAlbum(row["artist"], row["album"], year, _lengths(row["tracks"]), count)


@pytest.fixture(scope="module")
def decisions():
    return results()


def test_the_set_is_large_and_its_expected_albums_exist(decisions):
    known = {row["file_name"] for row in _rows("catalogue.csv")}
    answers = Counter(row["expected"] for row, _, _ in decisions)
    assert len(known) == len(_rows("catalogue.csv"))
    assert set(answers) - known == {"", "?"}
    assert len(decisions) >= 200
    assert answers[""] + answers["?"] >= 60


def precision_and_recall(decisions):
    """Return both, and what is matched wrongly; rows whose album nobody can tell ("?") do not count if matched."""
    matched = [(row, chosen) for row, chosen, _ in decisions if chosen and row["expected"] != "?"]
    wrong = [(row["artist"], row["album"], chosen) for row, chosen in matched if chosen != row["expected"]]
    wanted = sum(row["expected"] not in ("", "?") for row, _, _ in decisions)
    right = len(matched) - len(wrong)
    return right / len(matched), right / wanted, wrong


def test_precision_and_recall(decisions):
    precision, recall, wrong = precision_and_recall(decisions)
    assert precision >= 0.99, wrong
    assert recall >= 0.93


def test_precision_on_pairs_by_another_author():
    precision, recall, wrong = precision_and_recall(results("independent_"))
    assert precision >= 0.99, wrong
    assert recall >= 0.8
