"""Names of tracks: ids, files, ends of paths and titles."""

import numpy as np
import pyarrow as pa
import pytest

from eno.errors import SimilarityError
from eno.files import AudioRoots
from eno.similarity.lookup import find_track, match_track

IDS = ["Slowdive/Souvlaki/01 - Alison.flac", "Elvis Costello/Alison.flac", "Low/Hey What/Days Like These.flac"]
TITLES = ["Alison", None, "Days like these"]


@pytest.mark.parametrize("ids", [IDS, np.array(IDS, object), pa.array(IDS)])
def test_ids_ends_of_paths_and_titles(ids):
    assert find_track(IDS[0], ids) == IDS[0]
    assert find_track("souvlaki/01 - alison.FLAC", ids) == IDS[0]
    assert find_track(IDS[2].upper(), ids) == IDS[2]
    assert find_track("DAYS LIKE THESE", ids, TITLES) == IDS[2]
    assert match_track("Days Like", ids, TITLES) is None
    assert match_track("", ids, TITLES) is None


def test_the_end_of_a_path_comes_before_a_title():
    assert find_track("Alison.flac", IDS, ["x", "y", "Alison.flac"]) == IDS[1]


@pytest.mark.parametrize(
    "name", ["01 - Alison.flac", "1-02 alison.mp3", "03.Alison.ogg", "Alison.wav", "99 Luftballons.flac"]
)
def test_untagged_files_are_found_by_their_names(name):
    ids = ["a/b.flac", f"Slowdive/{name}"]
    stem = name.rpartition(".")[0]
    wanted = "99 Luftballons" if "99" in name else "Alison"
    assert find_track(wanted, ids) == find_track(stem, ids, [None, "Another Title"]) == ids[1]
    assert match_track("lison", ids) is None


def test_files_are_found_below_any_of_several_folders(tmp_path):
    for folder, name in (("first", IDS[0]), ("second", IDS[2]), ("elsewhere", IDS[1])):
        (tmp_path / folder / name).parent.mkdir(parents=True)
        (tmp_path / folder / name).touch()
    roots = AudioRoots.of([tmp_path / "first", tmp_path / "second"])
    assert find_track(tmp_path / "second" / IDS[2], IDS, audio_roots=roots) == IDS[2]
    assert find_track(tmp_path / "second" / ".." / "first" / IDS[0], IDS, audio_roots=roots) == IDS[0]
    # A file that is not one of the tracks stands for itself, even if a track is called the same.
    assert match_track(tmp_path / "elsewhere" / IDS[1], IDS, audio_roots=roots) is None
    assert match_track(tmp_path / "first", IDS, audio_roots=roots) is None


def test_an_ambiguous_name_lists_the_candidates():
    ids = [f"{number:02}/Intro.flac" for number in range(12)]
    with pytest.raises(SimilarityError) as caught:
        find_track("intro.flac", ids)
    first, *listed, last = str(caught.value).split("\n")
    assert first.startswith("12 tracks match 'intro.flac'.")
    assert [line.strip() for line in listed] == ids[:10]
    assert last.strip() == "and 2 more"
    with pytest.raises(SimilarityError, match="2 tracks match 'Alison'"):
        match_track("Alison", IDS, ["Alison", "Alison", None])


def test_an_unknown_name_gets_a_suggestion():
    with pytest.raises(SimilarityError, match=r"No track is called 'Low/Hey/Days'\. Did you mean 'Low/Hey What/Days"):
        find_track("Low/Hey/Days", IDS)
    with pytest.raises(SimilarityError, match=r"No track is called 'x'\.$"):
        find_track("x", [])
