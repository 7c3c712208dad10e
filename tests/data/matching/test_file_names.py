"""Names read from folders and files."""

import pytest

from eno.data.matching.file_names import read_folder_name, without_disc


@pytest.mark.parametrize("name", ["", " ", "-", " - ", "()", "(1999)", "[FLAC]", "1999"])
@pytest.mark.parametrize("parent", ["", "Music", "Björk"])
def test_a_folder_without_a_name_is_read(name, parent):
    found = read_folder_name(name, parent)
    assert found.year == (1999 if "1999" in name else None)


@pytest.mark.parametrize(
    ("title", "shorter"),
    [
        ("Adore (Disc 2 of 3)", "Adore"),
        ("Adore [Disc 2: The Lost Demos]", "Adore"),
        ("Adore (CD 1 - Dawn)", "Adore"),
        ("Adore [Warp CD43]", "Adore [Warp CD43]"),  # a catalogue number
        ("Adore Disc 2: Dawn (Live)", "Adore Disc 2: Dawn (Live)"),
        ("Disc 2", "Disc 2"),
    ],
)
def test_numbers_of_discs_are_left_out_with_their_titles(title, shorter):
    assert without_disc(title) == shorter
