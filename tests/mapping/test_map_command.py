import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from eno.audio.windows import WindowPolicy
from eno.cli import app
from eno.data.labels.encoder import LabelEncoder
from eno.data.layout import DataRoot
from eno.data.lute.albums import ALBUM_SCHEMA
from eno.data.matching.matcher import MATCH_SCHEMA
from eno.data.tables import write_table
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.errors import FingerprintMismatch
from eno.inference.predictor_folder import PredictorParts
from eno.models import create_head
from eno.similarity.index.build import build_index
from tests.fakes import ProjectionEncoder
from tests.mapping.test_map import Page, unpack

COUNT = 40
IDS = [f"{i:02d}/Album {i % 2}/track.flac" for i in range(COUNT)]


@pytest.fixture
def root(tmp_path):
    """A store of two albums that sound different, only one of which is in the catalogue."""
    spec = ProjectionEncoder().spec
    vectors = np.random.default_rng(0).normal(size=(COUNT, 1, spec.dim)).astype(np.float32)
    vectors[::2, 0, 0] += 5
    store = EmbeddingStore.create(tmp_path / "store", spec, policy=WindowPolicy())
    with store.writing():
        store.append(IDS, np.zeros(COUNT), vectors)
    album = {"file_name": "lute/1", "name": "Known", "primary_genres": ["Shoegaze"], "descriptors": ["dense"]}
    match = [{"track_id": name, "file_name": "lute/1", "decision": "matched"} for name in IDS[::2]]
    write_table(DataRoot(tmp_path).albums, pa.Table.from_pylist([album], ALBUM_SCHEMA))
    write_table(DataRoot(tmp_path).matches, pa.Table.from_pylist(match, MATCH_SCHEMA))
    return tmp_path


def draw(root, *options):
    command = ["map", str(root / "store"), "--out", str(root / "map.html"), "--layout", "pca", *map(str, options)]
    result = CliRunner().invoke(app, [*command, "--data-root", str(root)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return Page(root / "map.html").content, result


def test_names_and_tags_come_from_the_catalogue_or_from_folders(root):
    (root / "genres.csv").write_text("Shoegaze,Rock\n")
    content, result = draw(root, "--set", f"labels.hierarchy='{root / 'genres.csv'}'")
    assert f"{COUNT} tracks by pca" in result.output
    assert content["columns"]["album"]["names"] == ["Album 1", "Known"]
    assert content["columns"]["genre"]["names"] == ["Rock"]
    assert unpack(content["columns"]["genre"]["codes"]).tolist() == [1, 0] * (COUNT // 2)
    assert content["tags"]["names"] == ["Shoegaze", "dense"]


def test_tags_of_a_predictor(root):
    store = EmbeddingStore.open(root / "store")
    labels = LabelEncoder(["Even"], ["odd"])
    truth = np.stack([np.arange(COUNT) % 2 == 0, np.arange(COUNT) % 2 == 1], axis=1).astype(np.float32)
    head = create_head("linear")
    head.fit(store.matrix(IDS)[1], truth)
    PredictorParts(specs=(store.spec,), labels=labels, head=head, policies=(store.policy,)).save(root / "model")
    content, _ = draw(root, "--model", root / "model")
    tags = content["tags"]
    starts, codes, strengths = (unpack(tags[name]) for name in ("starts", "codes", "strengths"))
    named = [
        [tags["names"][codes[at]] for at in range(*starts[i : i + 2]) if strengths[at] > tags["thresholds"][codes[at]]]
        for i in range(COUNT)
    ]
    expected = head.predict_proba(store.matrix(IDS)[1]) > 0.5
    assert [set(names) for names in named] == [
        {name for name, above in zip(labels.all_labels, row, strict=True) if above} for row in expected
    ]
    assert (expected == truth).mean() > 0.9

    other = ProjectionEncoder(seed=1).spec
    PredictorParts(specs=(other,), labels=labels, head=head, policies=(store.policy,)).save(root / "other")
    with pytest.raises(FingerprintMismatch):
        draw(root, "--model", root / "other")


def test_a_sample_of_a_large_collection_is_drawn(root):
    content, result = draw(root, "--sample", 7, "--seed", 1)
    assert "40 tracks: drawing a random sample of 7" in result.output
    assert content["count"] == 7
    assert draw(root, "--sample", 7, "--seed", 1)[0] == content
    assert draw(root, "--sample", 7, "--seed", 2)[0]["folder"] != content["folder"]


@pytest.mark.parametrize("left", [[], ["writer.lock"], ["vectors-1.i16", ".finder-1.faiss.7.tmp"]])
def test_a_folder_without_a_complete_index_is_no_index(root, left):
    folder = root / "store" / "index" / "tracks"
    folder.mkdir(parents=True)
    for name in left:
        (folder / name).write_bytes(b"")
    assert draw(root)[0]["count"] == COUNT


def test_an_index_of_another_encoder_is_refused(root):
    other = EmbeddingStore.create(root / "other", ProjectionEncoder(dim=4, seed=1).spec, policy=WindowPolicy())
    other.append(IDS, np.zeros(COUNT), np.random.default_rng(0).normal(size=(COUNT, 1, 4)).astype(np.float32))
    build_index(other, root / "store" / "index" / "tracks")
    with pytest.raises(FingerprintMismatch, match="Build an index"):
        draw(root)
