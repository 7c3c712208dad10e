"""Notes of Humdrum files, compared with those that music21 reads."""

import pytest

from scripts.demo import scores
from scripts.demo.scores import UnusableScore

VOICES = """!!!OTL: Ties, dots and accidentals
**kern\t**kern\t**kern
*M4/2\t*M4/2\t*M4/2
*k[b-]\t*k[b-]\t*k[b-]
=1\t=1\t=1
0.BB-\t[1F#\t1r
.\t.\t[2cc
.\t[1F#_\t2cc]
.\t.\t.
.\t.\t2b-
4C\t4F#]\t4eee-
8D\t4GG\t4f#
8E\t.\t.
=2\t=2\t=2
00r\t0A\t0.g
.\t1dn\t.
.\t1d\t1g#
*-\t*-\t*-
""".replace("[1F#_", "1F#_")


def test_notes_are_those_of_music21():
    converter = pytest.importorskip("music21.converter")
    parsed = converter.parse(VOICES, format="humdrum")
    parts = [scores._joined(scores._sounding(part.flatten()), number) for number, part in enumerate(parsed.parts)]
    found, end_q = scores._kern_notes(VOICES)
    assert sorted(found) == sorted(row for part in parts for row in part)
    assert end_q == float(parsed.duration.quarterLength)
    assert (0.0, 9.0, 54.0, 1) in found  # tied over three notes


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("**kern\t**kern\n4c 4e\t4g\n", "'4c 4e' is not of a single voice"),
        ("**kern\t**kern\n*M4/2\t*M4/2\n1c\t1c\n*M3/2\t*M3/2\n1c\t1c\n", "its metre changes"),
        ("**kern\n1c\n", "one part only"),
    ],
)
def test_other_humdrum_files_are_not_used(text, reason):
    with pytest.raises(UnusableScore, match=reason):
        scores._kern_notes(text)
