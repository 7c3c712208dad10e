"""The notebooks run from top to bottom on a small demo corpus and print correct results."""

import json
import os
import re
import shutil
from pathlib import Path

import nbformat
import numpy as np
import pyarrow.parquet as pq
import pytest
from jupyter_client import KernelManager
from nbclient import NotebookClient
from sklearn.metrics import average_precision_score, f1_score

from eno.audio.windows import WindowPolicy
from eno.cnn.feature_files import prepare_features
from eno.data.catalogue import choose_labels, split_tracks
from eno.data.labels.encoder import LabelEncoder
from eno.data.layout import DataRoot
from eno.data.library.scanning import read_tracks, scan
from eno.data.lute.albums import LABEL_COLUMNS, read_albums
from eno.data.lute.importing import import_lute
from eno.data.matching.matcher import match
from eno.data.splits.artist_split import read_split
from eno.embeddings.job.embed import embed_folder
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.encoders import load_encoder
from eno.inference.predictor import EnoPredictor
from eno.similarity.index.index import SimilarityIndex, index_folder
from eno.similarity.index.space import DEFAULT_METHOD
from scripts.demo import build_corpus

FOLDER = Path(__file__).parents[2] / "notebooks"
TRACKS = 84


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    data = DataRoot(tmp_path_factory.mktemp("data"))
    build_corpus(data.root, tracks=TRACKS, duration_s=5.0, seed=3, workers=1)
    import_lute(data.root / "raw" / "metadata" / "lute.jsonl", data.albums)
    scan(data.audio, data.tracks)
    match(read_tracks(data.tracks), read_albums(data.albums), data.matches, data.match_review)
    choose_labels(data, min_albums=2, min_artists=2)
    split_tracks(data, val=0.25, test=0.25, seed=0)
    prepare_features(data, num_workers=1)
    return data


@pytest.fixture(scope="module")
def store(root):
    encoder = load_encoder("stats")
    made = EmbeddingStore.open_or_create(
        root.root / "embeddings" / encoder.spec.label, encoder.spec, policy=WindowPolicy()
    )
    embed_folder(root.audio, encoder, made)
    return made


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    """One kernel for all notebooks, since each would import PyTorch and transformers again."""
    folder = str(tmp_path_factory.mktemp("jupyter"))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR"):
            patch.setenv(name, folder)
        manager = KernelManager(kernel_name="python3")
        manager.start_kernel(cwd=str(FOLDER))
        yield manager
        manager.shutdown_kernel(now=True)


@pytest.fixture
def run(kernel, root):
    """Run a notebook with no variables of another; return what it printed, its tables and the number of pictures."""

    def run(name, data_root=root.root):
        notebook = nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)
        notebook.cells.insert(0, nbformat.v4.new_code_cell(f"%reset -f\n%env ENO_DATA_ROOT={data_root}"))
        client = NotebookClient(notebook, km=kernel, timeout=600)
        client.execute()
        client.kc.stop_channels()
        outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
        printed = "".join(out["text"] for out in outputs if out.get("name") == "stdout")
        tables = [out["data"]["text/html"] for out in outputs if "text/html" in out.get("data", {})]
        pictures = sum("image/png" in out.get("data", {}) for out in outputs)
        return printed, [_rows(table) for table in tables], pictures

    return run


def _rows(table: str) -> list[list[str]]:
    rows = re.findall(r"<tr.*?>(.*?)</tr>", table, re.DOTALL)
    return [re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row, re.DOTALL) for row in rows]


def _number(pattern: str, printed: str) -> float:
    return float(re.search(pattern + r"(-?[\d.]+)", printed)[1])


def _truth(root, part):
    rows = read_split(root.splits, part).sort_by("track_id")
    labels = LabelEncoder.load(root.label_encoder)
    truth = np.stack([labels.encode(*(row[name] for name in LABEL_COLUMNS)) for row in rows.to_pylist()])
    return rows["track_id"].to_pylist(), rows["file_name"].to_pylist(), truth


def test_data_exploration(run):
    printed, _, _ = run("01_data_exploration")
    assert f"Total albums: {TRACKS // 6}" in printed
    assert f"{TRACKS} files, 0.1 hours, 0 unreadable" in printed


def test_features_and_embeddings(run, root, store):
    printed, _, pictures = run("02_features_and_embeddings")
    sizes = {part: len(_truth(root, part)[0]) for part in ("train", "val", "test")}
    labels = LabelEncoder.load(root.label_encoder)
    assert str(sizes) in printed
    assert "shape (1, 128, 157)" in printed  # 5 s at 16 kHz, every 512 samples, centred
    assert f"{TRACKS} tracks: 0 computed, {TRACKS} up to date, 0 failed" in printed
    assert f"{len(labels)} labels: {labels.num_genres} genres, {labels.num_descriptors} descriptors" in printed
    assert f"batch: features (4, 1, 128, 94), labels (4, {len(labels)})" in printed
    assert f"0 embedded, {TRACKS} skipped, 0 failed" in printed
    assert pictures == 2

    albums = {}
    for part in sizes:
        albums.update(zip(*_truth(root, part)[:2], strict=True))
    ids, X = store.matrix()
    X = (X - X.mean(axis=0)) / np.where(X.std(axis=0) > 0, X.std(axis=0), 1)
    distance = 1 - (X @ X.T) / np.linalg.norm(X, axis=1)[:, None] / np.linalg.norm(X, axis=1)
    np.fill_diagonal(distance, np.inf)
    same = np.mean([albums[ids[i]] == albums[name] for i, name in zip(distance.argmin(axis=1), ids, strict=True)])
    assert _number("same album: ", printed) == pytest.approx(same, abs=6e-4)
    assert same > 0.5  # five of the 83 others are of the same album


def test_training(run, root, store):
    printed, tables, pictures = run("03_training")
    labels = LabelEncoder.load(root.label_encoder)
    (train_ids, _, _), (val_ids, _, truth) = _truth(root, "train"), _truth(root, "val")
    assert f"{len(labels)} labels, {len(train_ids)} training tracks, {len(val_ids)} validation tracks" in printed
    assert pictures == 1
    # -log σ(3) = log(1 + e^-3), and the same with the sign turned
    assert "loss 0.049" in printed
    assert "loss 3.049" in printed

    judged = truth.any(axis=0) & ~truth.all(axis=0)
    chance = truth[:, judged].mean()
    assert _number("by chance: ", printed) == pytest.approx(chance, abs=6e-4)
    assert _number("linear: validation mAP ", printed) > chance + 0.05
    # What is saved is what was announced, and predicts from a file what it predicts from the store.
    folder = root.root / "models" / "notebook-mlp"
    predictor = EnoPredictor.load(folder)
    probabilities = predictor.predict_vectors(store.view(val_ids))
    assert _number("mlp: validation mAP ", printed) > chance + 0.05
    first = predictor.predict(root.audio / val_ids[0])
    assert f"predicted: {first}" in printed
    assert first == labels.decode(probabilities[0], predictor.thresholds)
    assert f"true:      {labels.decode(truth[0])}" in printed
    record = json.loads((folder / "training.json").read_text("utf-8"))
    assert f"\nvalidation mAP {record['validation']['map_macro']:.3f}, in" in printed
    rules = next(table for table in tables if table[0][1:] == ["f1_macro", "f1_micro"])[1:]
    reached = record["validation"]["rules"]
    assert {name: float(macro) for name, macro, _ in rules} == {
        name: pytest.approx(rule["f1_macro"], abs=6e-4) for name, rule in reached.items()
    }
    assert f"rule in use: {predictor.calibration.rule}" in printed

    losses = [float(loss) for loss in re.findall(r"Epoch \d: train_loss=([\d.]+)", printed)]
    assert len(losses) == 2
    assert losses[1] < losses[0]
    cnn = root.root / "models" / "notebook-cnn"
    named = EnoPredictor(cnn / "best_model.pt", cnn / "label_encoder.json")
    top = named.name_tags(named.predict_proba(root.audio / val_ids[0]))[0]
    assert f"{top.probability:.2f} {top.tag}" in printed


def test_evaluation(run, root, store):
    printed, tables, pictures = run("04_evaluation")
    labels = LabelEncoder.load(root.label_encoder)
    ids, albums, truth = _truth(root, "test")
    judged = truth.any(axis=0) & ~truth.all(axis=0)
    folder = root.root / "models" / "notebook-mlp"
    predictor = EnoPredictor.load(folder)
    predicted = predictor.predict_vectors(store.view(ids))
    above = predicted > predictor.thresholds
    expected = average_precision_score(truth[:, judged], predicted[:, judged])
    assert f"{len(ids)} test tracks by {len(set(albums))} artists, {judged.sum()} labels evaluated" in printed
    assert f"{len(set(albums))} albums, combined by mean_logit" in printed
    assert _number("mAP by chance: ", printed) == pytest.approx(truth[:, judged].mean(), abs=6e-4)
    assert expected > truth[:, judged].mean() + 0.05
    by_hand, of_eno = (re.search(f"^{who}: (.*)$", printed, re.MULTILINE)[1] for who in ("scikit-learn", "eno"))
    assert by_hand == of_eno
    assert _number("eno: .*mAP=", printed) == pytest.approx(expected, abs=6e-5)
    f1 = f1_score(truth[:, judged], above[:, judged], average="macro", zero_division=0)
    assert _number("eno: .* f1=", printed) == pytest.approx(f1, abs=6e-5)
    assert pictures == 3

    of_labels = next(table for table in tables if table[0][1:3] == ["label", "family"])[1:]
    assert sorted(row[1] for row in of_labels) == sorted(labels.all_labels)
    counts = dict(zip(labels.all_labels, zip(truth.sum(axis=0), above.sum(axis=0), strict=True), strict=True))
    assert {row[1]: (int(row[4]), int(row[5])) for row in of_labels} == counts
    assert len(re.findall(r"^.+: P=[\d.]+, R=[\d.]+$", printed, re.MULTILINE)) == judged.sum()

    untested = [name for name, some in zip(labels.all_labels, truth.any(axis=0), strict=True) if not some]
    assert f"{len(untested)} of {len(labels)} labels have no test tracks" in printed
    assert "over-fitting: FOUND" in printed  # thirty tracks are memorised
    assert len(re.findall(r"^\w+: mlp - linear = ", printed, re.MULTILINE)) == 4
    report = pq.read_table(folder / "evaluation" / "per_label.parquet")
    assert report["label"].to_pylist() == [row[1] for row in of_labels]
    assert (folder / "evaluation" / "report.html").is_file()


def test_sounds_like(run, root, store):
    printed, tables, pictures = run("05_sounds_like")
    ids, X = store.matrix()
    assert f"{len(ids)} tracks, vectors of {X.shape[1]} values" in printed
    assert pictures == 1
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    raw = (unit @ unit.T)[np.triu_indices(len(ids), k=1)].mean()
    assert _number("mean cosine, raw: ", printed) == pytest.approx(raw, abs=6e-4)
    assert abs(_number(f"mean cosine, {DEFAULT_METHOD}: ", printed)) < 0.05 < 0.9 < raw

    like, passage, windows, _, _, playlist = tables
    unit = SimilarityIndex.open(index_folder(store)).space.apply(X)
    albums = {name: name.rpartition("/")[0] for name in ids}
    others = [row for row, name in enumerate(ids) if albums[name] != albums[ids[0]]]
    best = max(others, key=lambda row: float(unit[row] @ unit[0]))
    assert like[1][2] == Path(ids[best]).stem
    assert float(like[1][1]) == pytest.approx(float(unit[best] @ unit[0]), abs=2e-3)
    assert [len(table) - 1 for table in (like, passage, windows)] == [5, 3, 3]
    assert re.search(rf"the copy: (0\.999|1\.000) {re.escape(ids[0])}", printed)
    rises, falls = re.findall(r"(-?[\d.]+) for the seed, (-?[\d.]+) for the mixture", printed)
    assert float(rises[0]) < float(rises[1])
    assert float(falls[0]) > float(falls[1])

    assert "12 tracks, 1.0 of 1.0 minutes" in printed
    lines = (root.root / "processed" / "playlist.m3u8").read_text("utf-8").splitlines()
    assert len(lines) == 25
    assert all((root.root / "processed" / line).is_file() for line in lines[2::2])
    assert [row[2] for row in playlist[1:]] == [Path(line).stem for line in lines[2::2]]
    assert f"{len(ids)} tracks by pca" in printed
    assert (root.root / "processed" / "map.html").is_file()


def test_quickstart(run, root, tmp_path):
    """It embeds all files with musicnn, so it gets two albums only."""
    few = DataRoot(tmp_path)
    for album in sorted(path.parent for path in root.audio.rglob("01 - *"))[:2]:
        shutil.copytree(album, few.audio / album.relative_to(root.audio), copy_function=os.link)
    tracks = sum(path.is_file() for path in few.audio.rglob("*"))
    printed, _, pictures = run("00_quickstart", few.root)
    assert f"{tracks} files, for example" in printed
    assert pictures == 2
    assert re.search(rf"{tracks} embedded, 0 skipped; {tracks} tracks, vectors of 200 values", printed)
    neighbours = re.findall(r"^(-?0\.\d\d) (\S.*)$", printed, re.MULTILINE)
    assert len(neighbours) == 3 and all((root.audio / track_id).is_file() for _, track_id in neighbours)
    song = re.search(r"for example (.*)", printed)[1]
    assert all(Path(track_id).parent != Path(song).parent for _, track_id in neighbours)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebook_carries_the_outputs_of_one_run_without_errors(path):
    cells = [cell for cell in json.loads(path.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert outputs and not any(output["output_type"] == "error" for output in outputs)
    assert path.stat().st_size < 1_000_000
