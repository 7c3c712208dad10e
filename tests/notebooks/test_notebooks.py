"""The notebooks run from top to bottom, on the demo corpus."""

import json
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from eno.data.albums import read_albums
from eno.data.layout import DataRoot
from eno.data.lute import import_lute
from eno.data.matching import match
from eno.data.scan import read_tracks, scan
from eno.demo import build_corpus

FOLDER = Path(__file__).parents[2] / "notebooks"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    data = DataRoot(tmp_path_factory.mktemp("data"))
    build_corpus(data.root, tracks=13, duration_s=5.0, seed=3)
    import_lute(data.root / "raw" / "metadata" / "lute.jsonl", data.albums)
    scan(data.audio, data.tracks)
    match(read_tracks(data.tracks), read_albums(data.albums), data.matches, data.match_review)
    return data


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ipynb")), ids=lambda path: path.stem)
def test_runs_and_shows_what_is_there(path, root, tmp_path, monkeypatch):
    monkeypatch.setenv("ENO_DATA_ROOT", str(root.root))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(FOLDER)}}).execute()
    printed = "".join(out.get("text", "") for cell in notebook.cells for out in cell.get("outputs", []))
    assert "Total albums: 2" in printed
    assert "13 files, 0.0 hours, 0 unreadable" in printed


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ipynb")), ids=lambda path: path.stem)
def test_is_kept_without_outputs(path):
    cells = json.loads(path.read_text("utf-8"))["cells"]
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in cells)
