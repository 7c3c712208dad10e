"""Names read from folders and files."""

import pytest

from eno.data.matching.file_names import read_folder_name


@pytest.mark.parametrize("name", ["", " ", "-", " - ", "()", "(1999)", "[FLAC]", "1999"])
@pytest.mark.parametrize("parent", ["", "Music", "Björk"])
def test_a_folder_without_a_name_is_read(name, parent):
    found = read_folder_name(name, parent)
    assert found.year == (1999 if "1999" in name else None)
