"""What `eno split` prints."""

from dataclasses import fields

from eno.data.splits.artist_split import SplitReport
from eno.summary import split_lines


def report(artists):
    three = dict.fromkeys(("train", "val", "test"), 5)
    values = {one.name: 0 for one in fields(SplitReport)} | {
        "tracks": three, "albums": three, "artists": dict.fromkeys(three, artists), "worst_label": "a",
        "worst_split": "train",
    }  # fmt: skip
    return SplitReport(**values)


def test_splits_without_any_artist_are_a_warning():
    assert "figures will be too good" in "\n".join(split_lines(report(0)))
    assert "too good" not in "\n".join(split_lines(report(2)))
