import importlib
import io
import sys
from html.parser import HTMLParser

import pytest
from rich.console import Console

from eno.data.explore import explore
from eno.errors import MissingExtra
from eno.exploration.charts import shorten
from eno.exploration.html import write_html
from eno.exploration.terminal import terminal_tables
from tests.data.test_explore import root, with_audio  # noqa: F401 (a fixture)


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


def test_the_file_needs_nothing_else(page):
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert all(address.startswith(("data:image/", "#")) for address in page.addresses)
    assert {address[1:] for address in page.addresses if address.startswith("#")} == page.ids
    assert all(page.alternatives)


def test_all_chapters_are_there_and_names_are_escaped(page):
    assert page.ids == {"overview", "labels", "what-goes-together", "audio", "a-track"}
    for text in (
        "<script>",
        "空洞",
        "is empty (0 bytes)",
        "album-1/0.flac",
        "Not there yet: what comes with eno split",
    ):
        assert text in page.text


def test_the_same_figures_give_the_same_bytes(root, tmp_path):  # noqa: F811
    with_audio(root)
    for name in ("a", "b"):
        write_html(explore(root), tmp_path / f"{name}.html")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_without_audio_the_rest_is_shown(root, tmp_path):  # noqa: F811
    write_html(explore(root), tmp_path / "report.html")
    page = Page((tmp_path / "report.html").read_text("utf-8"))
    assert page.ids == {"overview", "labels", "what-goes-together"}
    assert "what comes with eno scan" in page.text


def test_the_terminal_shows_the_same_figures(root):  # noqa: F811
    with_audio(root)
    console = Console(width=120, record=True, file=io.StringIO())
    for table in terminal_tables(explore(root)):
        console.print(table)
    text = console.export_text()
    for line in ("albums without descriptors", "<script>", "1980s", "PCM_16", "empty.mp3"):
        assert line in text


def test_names_fit_the_pictures():
    assert shorten("Dream Pop") == "Dream Pop"
    assert shorten("空洞 $x$") == "?? ?x?"
    assert len(shorten("x" * 100)) == 30


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "eno.exploration.charts")
    with pytest.raises(MissingExtra, match=r"eno\[explore\]"):
        importlib.import_module("eno.exploration.charts")
