"""The scripts of the guide, run from the command line."""

import importlib
import json
import os
import runpy
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import soundfile

from eno.data.labels.encoder import LabelEncoder
from eno.data.layout import DataRoot
from eno.data.splits.artist_split import SPLIT_SCHEMA, write_splits
from eno.inference.predictor import EnoPredictor
from tests.audio_files import music

SCRIPTS = Path(__file__).parents[1] / "scripts"
SPLITS = ["train"] * 4 + ["val"] * 2 + ["test"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Seven tracks of two seconds; noise is labelled rock and tones jazz."""
    data = DataRoot(tmp_path_factory.mktemp("data"))
    album = data.audio / "album"
    album.mkdir(parents=True)
    rows = []
    for number in range(len(SPLITS)):
        samples = music(2.0, 16_000, seed=number)[:, 0]
        if number % 2:
            samples = np.random.default_rng(number).normal(0, 0.2, len(samples))
        soundfile.write(album / f"{number}.wav", samples, 16_000)
        genre = "rock" if number % 2 else "jazz"
        rows.append({"track_id": f"album/{number}.wav", "file_name": "album", "primary_genres": [genre]})
    write_splits(data.splits, pa.Table.from_pylist(rows, schema=SPLIT_SCHEMA), np.array(SPLITS))
    LabelEncoder(["jazz", "rock"], []).save(data.label_encoder)
    return data


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)

    def run(name, *options):
        monkeypatch.setattr(sys, "argv", [name, *map(str, options)])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(str(SCRIPTS / name), run_name="__main__")
        return end.value.code, *capsys.readouterr()

    return run


def test_the_steps_of_the_guide(root, run, tmp_path):
    code, printed, shown = run("prepare_data.py", "--data_root", root.root, "--num_workers", 1)
    assert code == 0
    assert "7 tracks: 7 computed, 0 up to date, 0 failed" in printed
    assert "features: 7 of 7" in shown
    code, printed, _ = run("prepare_data.py", "--data-root", root.root)
    assert "7 tracks: 0 computed, 7 up to date, 0 failed" in printed

    quick = ("--epochs", 2, "--batch_size", 4, "--crop_s", 1, "--device", "cpu")
    code, printed, _ = run("train.py", *quick, "--data_root", root.root)
    assert code == 0
    lines = printed.splitlines()
    assert lines[0] == "Using device: cpu"
    assert [line.partition(":")[0] for line in lines[1:3]] == ["Epoch 1", "Epoch 2"]
    assert all("train_loss=" in line and "val_loss=" in line for line in lines[1:3])
    assert lines[-1] == 'EnoPredictor("best_model.pt", "label_encoder.json")'

    predictor = EnoPredictor("best_model.pt", "label_encoder.json")
    assert predictor.encoders[0].spec.window_s == 1.0
    found = predictor.predict(root.audio / "album" / "6.wav", threshold=0.0)
    assert found == {"genres": ["jazz", "rock"], "descriptors": []}


def test_command_line_options_are_used_in_training(root, run, tmp_path):
    run("prepare_data.py", "--data_root", root.root, "--num_workers", 1)
    options = ["--loss", "focal", "--class_weights", "balanced", "--spec_augment", "--pitch_shift", "2",
               "--time_stretch", "0.1", "--mixup", "0.2", "--learning_rate", "0.01", "--seed", "3"]  # fmt: skip
    quick = ["--epochs", "1", "--crop_s", "0.5", "--device", "cpu", "--folder", tmp_path / "model"]
    code, *_ = run("train.py", "--data_root", root.root, *options, *quick)
    assert code == 0
    settings = json.loads((tmp_path / "model" / "history.json").read_text())["settings"]
    wanted = {"loss": "focal", "class_weights": "balanced", "spec_augment": True, "pitch_shift": 2.0, "epochs": 1,
              "time_stretch": 0.1, "mixup": 0.2, "learning_rate": 0.01, "seed": 3, "crop_s": 0.5}  # fmt: skip
    assert wanted.items() <= settings.items()


def test_a_file_that_fails_is_listed_and_the_exit_code_is_1(root, run):
    broken = root.audio / "album" / "0.wav"
    intact = broken.read_bytes()
    try:
        broken.write_bytes(b"no music")
        later = broken.stat().st_mtime + 3600
        os.utime(broken, (later, later))
        code, printed, _ = run("prepare_data.py", "--data_root", root.root, "--num_workers", 1)
    finally:
        broken.write_bytes(intact)
    assert code == 1
    assert "1 failed" in printed
    assert f"{broken}: " in printed


@pytest.mark.parametrize(
    ("script", "options", "message"),
    [
        ("prepare_data.py", [], "train.parquet: no such file. Create it with: eno split"),
        ("train.py", [], "label_encoder.json: no such file"),
        ("train.py", ["--epochs", 0], "epochs is 0: Input should be greater than or equal to 1"),
        ("train.py", ["--device", "cuda:99"], "Device 'cuda:99' cannot be used"),
    ],
)
def test_errors_have_no_traceback(run, tmp_path, script, options, message):
    code, _, shown = run(script, "--data_root", tmp_path, *options)
    assert code == 1
    assert message in shown
    assert "Traceback" not in shown


def test_ctrl_c_keeps_the_best_checkpoint_so_far(root, run, tmp_path, monkeypatch):
    from eno.cnn import training as cnn

    def train_cnn(*args, on_epoch, **options):
        def interrupt(epoch):
            on_epoch(epoch)
            raise KeyboardInterrupt

        return original(*args, on_epoch=interrupt, **options)

    original = cnn.train_cnn
    monkeypatch.setattr(cnn, "train_cnn", train_cnn)
    run("prepare_data.py", "--data_root", root.root, "--num_workers", 1)
    code, printed, shown = run("train.py", "--data_root", root.root, "--crop_s", 0.5, "--device", "cpu")
    assert code == 130
    assert "Epoch 1: " in printed
    assert f"stopped; the best checkpoint so far, if any, is in {tmp_path}" in shown
    assert (tmp_path / "best_model.pt").is_file()


def test_every_benchmark_can_be_imported():
    files = sorted(file.relative_to(SCRIPTS.parent) for file in (SCRIPTS / "bench").rglob("*.py"))
    modules = [".".join(file.with_suffix("").parts) for file in files if file.name != "__init__.py"]
    assert {"scripts.bench.tags", "scripts.bench.catalogue.matching"} <= set(modules)
    for name in modules:
        importlib.import_module(name)
