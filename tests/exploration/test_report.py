import importlib
import io
import sys
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

from eno.data.library.scanning import TRACK_SCHEMA
from eno.data.lute.albums import ALBUM_SCHEMA
from eno.data.tables import write_table
from eno.errors import MissingExtra
from eno.exploration import charts, explore, html
from eno.exploration.html import write_html
from eno.exploration.statistics import PICTURE_S
from eno.exploration.terminal import terminal_tables
from eno.exploration.track_picture import picture_track
from eno.reporting.plotting import shorten
from tests.exploration.test_explore import root, with_audio  # noqa: F401 (a fixture)


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.addresses, self.alternatives, self.ids, self.text = [], [], [], set(), ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append(tag)
        self.addresses += [attributes[name] for name in ("src", "href") if name in attributes]
        self.alternatives += [attributes.get("alt")] if tag == "img" else []
        self.ids |= {attributes["id"]} if "id" in attributes else set()

    def handle_data(self, data):
        self.text += data + "\n"


@pytest.fixture
def page(root, tmp_path):  # noqa: F811
    with_audio(root)
    write_html(explore(root), tmp_path / "report.html")
    return Page((tmp_path / "report.html").read_text("utf-8"))


def test_the_report_is_self_contained(page):
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert all(address.startswith(("data:image/", "#")) for address in page.addresses)
    assert {address[1:] for address in page.addresses if address.startswith("#")} == page.ids
    assert all(page.alternatives)


def test_all_chapters_are_present_and_names_are_escaped(page):
    assert page.ids == {"overview", "labels", "co-occurrence", "audio", "a-track"}
    for text in (
        "<script>",
        "空洞",
        "is empty (0 bytes)",
        "album-1/0.flac",
        "No splits yet. Create them with: eno split",
    ):
        assert text in page.text


def test_the_report_is_reproducible(root, tmp_path):  # noqa: F811
    with_audio(root)
    for name in ("a", "b"):
        write_html(explore(root), tmp_path / f"{name}.html")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_the_report_works_without_audio(root, tmp_path):  # noqa: F811
    write_html(explore(root), tmp_path / "report.html")
    page = Page((tmp_path / "report.html").read_text("utf-8"))
    assert page.ids == {"overview", "labels", "co-occurrence"}
    assert "Create them with: eno scan" in page.text


def test_the_terminal_shows_the_same_figures(root):  # noqa: F811
    with_audio(root)
    console = Console(width=120, record=True, file=io.StringIO())
    for table in terminal_tables(explore(root)):
        console.print(table)
    text = console.export_text()
    for line in ("albums without descriptors", "<script>", "1980s", "PCM_16", "empty.mp3"):
        assert line in text


def test_long_names_fit_into_the_charts():
    assert shorten("Dream Pop") == "Dream Pop"
    assert shorten("空洞 $x$") == "?? $x$"
    assert len(shorten("x" * 100)) == 30


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for module in ("eno.reporting.plotting", "eno.exploration.charts"):
        monkeypatch.delitem(sys.modules, module)
    with pytest.raises(MissingExtra, match=r"\.\[explore\]"):
        importlib.import_module("eno.exploration.charts")


def test_a_collection_without_labels_or_albums_has_a_report_too(root, tmp_path):  # noqa: F811
    for rows in ([], [{"file_name": "x"}]):
        write_table(root.albums, pa.Table.from_pylist(rows, schema=ALBUM_SCHEMA))
        write_html(explore(root), tmp_path / "report.html")
        assert Page((tmp_path / "report.html").read_text("utf-8")).ids == {"overview", "labels"}


def test_columns_are_at_their_positions(root, tmp_path, monkeypatch):  # noqa: F811
    rows = [
        {"file_name": str(n), "primary_genres": list("abcd")[:n], "release_date": f"{1960 + 10 * n}-01-01"}
        for n in (0, 1, 4)
    ]
    write_table(root.albums, pa.Table.from_pylist(rows, schema=ALBUM_SCHEMA))
    drawn = {}
    monkeypatch.setattr(charts, "columns", lambda title, rows, label: drawn.setdefault(label, rows) and "")
    html.write_html(explore(root), tmp_path / "report.html")
    assert drawn["genres"] == [("0", 1), ("1", 1), ("2", 0), ("3", 0), ("4", 1)]
    assert drawn["decade"] == [("1960s", 1), ("1970s", 1), ("1980s", 0), ("1990s", 0), ("2000s", 1)]


def test_long_tables_are_cut_and_say_so(root, tmp_path):  # noqa: F811
    letters = [chr(ord("a") + i) for i in range(25)]
    rows = [{"track_id": f"{x}.mp3", "size": 1, "mtime_ns": 1, "problem": f"reason {x}"} for x in letters]
    write_table(root.tracks, pa.Table.from_pylist(rows, schema=TRACK_SCHEMA))
    write_html(explore(root), tmp_path / "report.html")
    page = Page((tmp_path / "report.html").read_text("utf-8"))
    assert "the first 20 of 25" in page.text
    assert ("reason t" in page.text, "reason u" in page.text) == (True, False)


def test_long_tracks_say_how_much_of_them_is_shown():
    for seconds, said in ((PICTURE_S - 1, "the whole track"), (PICTURE_S, "the first 10 minutes")):
        picture = picture_track("x", np.zeros(seconds * 100, np.float32), 100, [])
        assert charts.track_pictures(picture)[0][0] == f"waveform, {said}"
