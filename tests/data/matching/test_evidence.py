"""Levels of evidence, and what lengths of other recordings do to a match."""

import itertools

import pytest

from eno.data.matching.alignment import Alignment
from eno.data.matching.candidates import Candidate
from eno.data.matching.deciding import decide
from eno.data.matching.evidence import (
    CONTRADICTED,
    Model,
    count_level,
    lengths_level,
    names_alone_level,
    titles_level,
    with_better_names,
    year_level,
)

COUNTS = range(13)


def _alignment(**values: int) -> Alignment:
    return Alignment(**dict.fromkeys(Alignment._fields, 0) | values)


def _levels() -> dict[str, set[str]]:
    """All levels that numbers of tracks and years can lead to."""
    both = list(itertools.product(COUNTS, COUNTS))
    yes_or_no = (False, True)
    weights = Model.load().weights
    return {
        "lengths": {
            lengths_level(
                _alignment(
                    listed_tracks=listed + missing,
                    lengths=local,
                    listed_lengths=listed,
                    agreeing=agreeing,
                    close=close,
                    sides=sides,
                )
            )
            for (local, listed), sides, missing in itertools.product(both, yes_or_no, yes_or_no)
            for agreeing in range(min(local, listed) + 1)
            for close in range(agreeing, min(local, listed) + 1)
        },
        "titles": {
            titles_level(_alignment(titles=local, listed_titles=listed, same_title=same, one_script=script))
            for (local, listed), script in itertools.product(both, yes_or_no)
            for same in range(min(local, listed) + 1)
        },
        "count": {count_level(*pair, edition) for pair in both for edition in yes_or_no},
        "year": {year_level(a, b, e) for a in (None, 1999, 2000, 2010) for b in (None, 2000) for e in yes_or_no},
        "names alone": {
            names_alone_level(artist, title, "unknown", "unknown")
            for artist, title in itertools.product(weights["artist"], weights["title"])
        },
    }


@pytest.mark.parametrize("kind", ["lengths", "titles", "count", "year", "names alone"])
def test_every_level_has_a_weight(kind):
    # A level that no generated album has would silently weigh nothing.
    assert _levels()[kind] <= set(Model.load().weights[kind])


@pytest.mark.parametrize("kind", ["ep", "single"])
def test_another_kind_of_release_speaks_against_a_match(kind):
    assert Model.load().weight("kind", f"{kind} instead of album") < 0


@pytest.mark.parametrize("lengths", sorted(CONTRADICTED))
def test_lengths_of_another_recording_are_neither_matched_nor_asked_about(lengths):
    re_recorded = Candidate(0, 0.97, {"artist": "same", "title": "same", "titles": "all of many", "lengths": lengths})
    assert decide([re_recorded], ["release/album/a/b"]).decision == "unmatched"


@pytest.mark.parametrize(
    "local_s, level", [(2520, "same length"), (2600, "nearly the same length"), (4580, "another length")]
)
def test_an_album_of_one_track_is_compared_by_its_length(local_s, level):
    agreeing, close = int(abs(local_s - 2520) <= 3), int(abs(local_s - 2520) <= 0.035 * local_s)
    common = _alignment(listed_tracks=1, lengths=1, listed_lengths=1, agreeing=agreeing, close=close)
    assert lengths_level(common) == level


def test_candidates_with_other_names_than_the_best_one_are_marked():
    levels = [("same", "same"), ("same", "listed is longer"), ("different", "same"), ("misspelt", "same")]
    found = with_better_names([(row, {"artist": a, "title": t}) for row, (a, t) in enumerate(levels)])
    assert [one["better names"] for _, one in found] == ["no", "yes", "yes", "no"]
    ((_, only),) = with_better_names([(0, {"artist": "same", "title": "listed is longer"})])
    assert only["better names"] == "no"
