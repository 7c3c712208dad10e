"""The text of CUE sheets."""

import pytest

from eno.data.library.cue import CueError, decode_cue, parse_cue

SHEET = """\
REM GENRE "Dream Pop"
REM DATE 1993-06-01
REM COMMENT "ExactAudioCopy v1.0"
PERFORMER "Slowdive"
TITLE "Souvlaki"
FILE "Souvlaki.wav" WAVE
  TRACK 01 AUDIO
    TITLE "Alison"
    ISRC GBAYE9300045
    INDEX 01 00:00:00
  TRACK 02 AUDIO
    TITLE "Machine Gun"
    PERFORMER "Slowdive & Friends"
    INDEX 00 03:49:70
    INDEX 01 03:51:37
    INDEX 02 04:00:00
"""


def test_a_sheet_as_rippers_write_it():
    sheet = parse_cue(SHEET)
    assert (sheet.title, sheet.performer, sheet.genre, sheet.year) == ("Souvlaki", "Slowdive", "Dream Pop", 1993)
    (file,) = sheet.files
    assert file.name == "Souvlaki.wav"
    first, second = file.tracks
    assert (first.number, first.start_s, first.title, first.performer) == (1, 0, "Alison", None)
    assert (second.number, second.title, second.performer) == (2, "Machine Gun", "Slowdive & Friends")
    assert second.start_s == 3 * 60 + 51 + 37 / 75


def test_case_spaces_and_quotation_marks_do_not_matter():
    text = SHEET.lower().replace('"machine gun"', "machine  gun").replace("\n", "\r\n").replace("  ", "\t")
    (file,) = parse_cue(text).files
    assert [track.title for track in file.tracks] == ["alison", "machine gun"]


def test_a_track_belongs_to_the_file_of_its_index_01():
    text = (
        'FILE "1.wav" WAVE\nTRACK 01 AUDIO\nINDEX 01 00:00:00\nTRACK 02 AUDIO\nINDEX 00 03:00:00\n'
        'FILE "2.wav" WAVE\nINDEX 01 00:00:00\nTRACK 03 AUDIO\nINDEX 01 02:00:00\n'
        "TRACK 04 MODE1/2352\nINDEX 01 04:00:00"
    )
    sheet = parse_cue(text)
    assert [[(one.number, one.is_audio) for one in file.tracks] for file in sheet.files] == [
        [(1, True)],
        [(2, True), (3, True), (4, False)],
    ]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("TITLE Café del Mar – naïve’s “best”", "cp1252"),
        ("TITLE Größte Hits: Motörhead, Blue Öyster Cult", "cp1252"),
        ("TITLE L’été à Orléans, créée et aimée", "cp1252"),
        ("TITLE さくら", "cp932"),
        ("TITLE 東京事変 - 教育", "cp932"),
        ("TITLE スピッツ", "cp932"),
        ("TITLE さくら é", "utf-8"),
        ("TITLE さくら é", "utf-8-sig"),
        ("TITLE さくら é", "utf-16"),
    ],
)
def test_encodings(text, encoding):
    assert decode_cue(text.encode(encoding)) == text


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (("INDEX 01 03:51:37", "INDEX 01 3m51"), "line 15: INDEX 01 3m51: expected a number and mm:ss:ff"),
        (("INDEX 01 03:51:37", "INDEX 01 03:51:75"), "line 15: INDEX 01 03:51:75"),
        (("INDEX 01 03:51:37", "INDEX 01 00:00:00"), "of TRACK 2 is not after the track before"),
        (("    INDEX 01 03:51:37\n", ""), "TRACK 2 above has no INDEX 01"),
        (("TRACK 02", "TRACK 01"), "line 11: TRACK 01 is there twice"),
        (("TRACK 02", "TRACK two"), "line 11: TRACK two: expected a number from 1 to 99"),
        (('FILE "Souvlaki.wav" WAVE\n', ""), "line 6: TRACK before the first FILE"),
        (("  TRACK 01 AUDIO\n", ""), "line 9: INDEX before the first TRACK"),
        ((SHEET, "just a text"), "it lists no tracks"),
    ],
)
def test_damage_is_named(change, problem):
    with pytest.raises(CueError, match=problem):
        parse_cue(SHEET.replace(*change))
