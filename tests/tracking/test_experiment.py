"""Tracking with the unmodified ClearML SDK, offline and with a stub of the server."""

import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sklearn.metrics import log_loss
from typer.testing import CliRunner

from eno.cli import app
from eno.cli.tracked import closing, sections_of, used_of, with_changes
from eno.config import Settings, load_settings
from eno.data.labels.encoder import LabelEncoder
from eno.errors import ConfigError, TrackingError
from eno.inference.predictor_folder import PredictorParts
from eno.models import MLPHead, create_head
from eno.tracking import git_state
from eno.tracking.clearml_experiment import ClearMLExperiment, as_text
from eno.tracking.experiment import Command, NoExperiment, Tracking, open_experiment
from eno.training.record import TrainingRecord
from tests.audio_files import music
from tests.clearml_stub import clearml_stub, schema_problems
from tests.training.conftest import DESCRIPTORS, DIM, GENRES

ROOT = Path(__file__).parents[2]
COMMAND = Command("training", "train mlp", ("-m", "eno", "train"))


@pytest.fixture(autouse=True)
def empty_home(monkeypatch, tmp_path):
    """Hide the user's ClearML configuration from the tests."""
    for name in list(os.environ):
        if name.startswith(("CLEARML", "TRAINS")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CLEARML_CACHE_DIR", str(tmp_path / "clearml"))


@pytest.fixture
def stub(monkeypatch):
    with clearml_stub() as (stub, environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield stub


@pytest.fixture
def run(monkeypatch):
    def run(*words, code=0):
        monkeypatch.setattr(sys, "argv", ["eno", *map(str, words)])
        result = CliRunner().invoke(app, [str(word) for word in words])
        assert result.exit_code == code, result.output
        return result

    return run


@pytest.fixture
def to_train(collection, tmp_path):
    labels = tmp_path / "labels.json"
    LabelEncoder(GENRES, DESCRIPTORS).save(labels)
    return ["train", "--store", collection.store.path, "--splits", collection.splits, "--labels", labels,
            "--set", "mlp.max_epochs=3", "--model", tmp_path / "model"]  # fmt: skip


def read_session(path):

    with zipfile.ZipFile(path) as packed:
        task = json.loads(packed.read("task.json"))
        events = [event for line in packed.read("metrics.jsonl").splitlines() for event in json.loads(line)]
        return task, events, packed.namelist()


def curves(events):
    found = {}
    for event in events:
        if event["type"] == "training_stats_scalar":
            found.setdefault((event["metric"], event["variant"]), []).append((event["iter"], event["value"]))
    return found


def session_of(result):
    return session_file(result.stderr.splitlines())


def session_file(lines):
    (line,) = (line for line in lines if line.startswith("tracking: session"))
    return Path(line.removeprefix("tracking: session ").partition(";")[0])


def hyperparameters(task):
    return {section: {name: one["value"] for name, one in values.items()} for section, values in
            task["hyperparams"].items()}  # fmt: skip


def test_offline_training_and_evaluation_can_be_imported_later(to_train, run, collection, tmp_path, monkeypatch):
    trained = session_of(run(*to_train, "--tracking", "offline", "--name", "first"))
    task, events, files = read_session(trained)
    assert (task["project_name"], task["name"], task["type"]) == ("eno/training", "first", "training")
    shown = hyperparameters(task)
    assert shown["Args"]["store"] == str(collection.store.path)
    assert shown["mlp"] | {"max_epochs": "3", "dropout": "0.5", "hidden": "[512]"} == shown["mlp"]
    record = TrainingRecord.load(tmp_path / "model")
    data = json.loads(task["configuration"]["data"]["value"])
    assert data["encoder_fingerprint"] == collection.store.spec.fingerprint
    assert data["split_hash"] == record.split_hash
    assert {"mlp", record.encoder, f"split {record.split_hash}"} == set(task["tags"])
    found = curves(events)
    history = json.loads((tmp_path / "model" / "head" / "head.json").read_text())["history"]
    for (title, series), name in {("loss", "train"): "train_loss", ("mAP", "validation"): "val_map"}.items():
        wanted = [(number, pytest.approx(one[name], rel=1e-6)) for number, one in enumerate(history, 1)]
        assert found[title, series] == wanted
    assert len(found["loss", "validation"]) == len(found["learning rate", "train"]) == 3
    ((_, value),) = found["Summary", "validation mAP"]
    assert value == pytest.approx(record.validation["map_macro"])
    (model,) = task["offline_output_models"]
    assert model["init"]["label_enumeration"] == {label: i for i, label in enumerate(GENRES + DESCRIPTORS)}
    assert record.encoder in model["init"]["tags"]
    assert {"predictor"} == {one["key"] for one in task["execution"]["artifacts"]}
    assert "models/predictor.zip" in files

    evaluated = session_of(run("evaluate", tmp_path / "model", "--tracking", "offline", "--resamples", 5))
    task, events, files = read_session(evaluated)
    assert (task["project_name"], task["type"]) == ("eno/evaluation", "testing")
    figures = json.loads((tmp_path / "model" / "evaluation" / "metrics.json").read_text())
    ((_, value),) = curves(events)["Summary", "track map_macro"]
    assert value == pytest.approx(figures["tracks"]["metrics"]["map_macro"])
    plots = {event["metric"]: json.loads(event["plot_str"]) for event in events if event["type"] == "plot"}
    assert {"precision and recall", "reliability", "F1 with one threshold", "frequent and rare labels", "metrics",
            "labels", "findings"} <= set(plots)  # fmt: skip
    assert len(plots["labels"]["data"][0]["cells"]["values"][0]) == len(GENRES + DESCRIPTORS)
    assert {"metrics.json", "per_label.parquet", "report.html"} == {
        one["key"] for one in task["execution"]["artifacts"]
    }

    moved = trained.rename(tmp_path / "elsewhere.zip")
    with clearml_stub() as (stub, environment):
        imported = subprocess.run(
            [sys.executable, "-m", "eno", "tracking", "import", moved, evaluated],
            capture_output=True, text=True, check=True, cwd=ROOT, env={**os.environ, **environment},
        )  # fmt: skip
        assert imported.stdout.count("task    ") == 2
        names = {task["name"]: (task["status"], hyperparameters(task)["General"]["head"]) for task in
                 stub.tasks.values()}  # fmt: skip
        assert names == {"first": ("completed", "mlp"), "evaluate model": ("completed", "mlp")}
        assert curves(stub.events)["loss", "train"] == found["loss", "train"]
        (model,) = stub.models.values()
        (archive,) = (content for name, content in stub.files.items() if name.endswith("models/predictor.zip"))
    assert model["uri"].startswith("http") and "package" in model["system_tags"]
    zipfile.ZipFile(io.BytesIO(archive)).extractall(tmp_path / "downloaded")
    X = np.random.default_rng(0).standard_normal((5, DIM)).astype(np.float32)
    heads = [PredictorParts.load(folder).head for folder in (tmp_path / "downloaded", tmp_path / "model")]
    assert np.array_equal(*(head.predict_proba(X) for head in heads))


def test_an_edited_task_runs_with_the_edited_settings(to_train, run, stub, tmp_path, monkeypatch):
    run(*to_train, "--tracking", "online", "--project", "mine")
    (task,) = stub.tasks.values()
    assert task["status"] == "completed"
    assert stub.bodies("projects.create")[0]["name"] == "mine"
    assert {one["key"] for one in task["execution"]["artifacts"]} == {"predictor"}
    values = task["hyperparams"]
    values["mlp"]["hidden"]["value"], values["mlp"]["dropout"]["value"] = "[8, 4]", "0.25"
    values["calibration"]["rule"]["value"] = "scut"
    values["Args"]["model"]["value"] = str(tmp_path / "edited")
    monkeypatch.setenv("CLEARML_TASK_ID", task["id"])  # as an agent does
    run(*to_train)
    record = TrainingRecord.load(tmp_path / "edited")
    assert record.options == {"hidden": [8, 4], "dropout": 0.25, "max_epochs": 3}
    assert record.calibration["rule"] == "scut"
    assert len(stub.tasks) == 1
    problems, checked = schema_problems(stub.calls)
    assert problems == []
    assert {"tasks.create", "tasks.edit", "tasks.add_or_update_artifacts", "models.create"} <= set(checked)


def test_an_enqueued_command_does_not_run_locally(to_train, run, stub, tmp_path):
    run(*to_train, "--queue", "default")
    (task,) = stub.tasks.values()
    assert task["status"] == "queued"
    assert stub.bodies("tasks.enqueue")[0]["queue"] == "queue-1"
    entry = task["script"]["entry_point"], task["script"]["diff"]
    assert any("train" in text and str(tmp_path / "model") in text for text in entry)
    assert not (tmp_path / "model").exists()
    problem = run(*to_train, "--queue", "nowhere", code=1).exception
    assert isinstance(problem, TrackingError)
    assert 'Could not find queue named "nowhere"' in str(problem)


def test_clearml_task_passes_its_arguments_to_the_script(stub, tmp_path, monkeypatch):
    """Run the guide's command in a clone whose commits are pushed, then the script as an agent runs it."""
    clone = tmp_path / "clone"
    (clone / "scripts").mkdir(parents=True)
    for name in ("scripts/train.py", "requirements.txt"):
        (clone / name).write_bytes((ROOT / name).read_bytes())
    for words in (["init", "-q", "-b", "main"], ["add", "-A"],
                  ["-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-qm", "all"],
                  ["remote", "add", "origin", "https://git.example.org/eno.git"],
                  ["update-ref", "refs/remotes/origin/main", "HEAD"]):  # fmt: skip
        subprocess.run(["git", *words], cwd=clone, check=True)
    words = ["--project", "eno/training", "--name", "full-train-v1", "--script", "scripts/train.py", "--queue",
             "default", "--args", "epochs=7", "spec_augment=True", "data_root=/nowhere"]  # fmt: skip
    subprocess.run([sys.executable, "-m", "clearml.cli.task", *words], cwd=clone, check=True, capture_output=True)
    (task,) = stub.tasks.values()
    assert (task["name"], task["status"]) == ("full-train-v1", "queued")
    assert task["script"]["entry_point"] == "scripts/train.py"
    subprocess.run(["git", "apply", "--unidiff-zero"], input=task["script"]["diff"], text=True, cwd=clone, check=True)
    compile((clone / "scripts" / "train.py").read_text(), "train.py", "exec")
    assert (clone / "requirements.txt").read_text().splitlines()[-1] == "."

    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    monkeypatch.setenv("CLEARML_TASK_ID", task["id"])
    import train

    experiment = train.track({})
    try:
        chosen = vars(train.parser().parse_args([])) | {"data_root": Path("data")}
        edited = train.edited(chosen, experiment)
    finally:
        experiment.close()
    expected = {"epochs": 7, "spec_augment": True, "data_root": Path("/nowhere")}
    assert edited == chosen | expected


def test_embedding_is_tracked(run, tmp_path):
    (tmp_path / "audio").mkdir()
    for number in range(2):
        soundfile.write(tmp_path / "audio" / f"{number}.wav", music(6.0, 16_000, seed=number), 16_000)
    (tmp_path / "audio" / "broken.wav").write_bytes(b"no music")
    result = run("embed", tmp_path / "audio", "--encoder", "stats", "--store", tmp_path / "store", "--workers", 1,
                 "--min-coverage", 0.5, "--tracking", "offline")  # fmt: skip
    task, events, _ = read_session(session_of(result))
    assert (task["project_name"], task["type"]) == ("eno/embeddings", "data_processing")
    found = curves(events)
    assert [found["Summary", name][0][1] for name in ("found", "embedded", "failed")] == [3, 2, 1]
    assert found["rate", "tracks per second"][-1][0] == 3
    manifest = json.loads((tmp_path / "store" / "manifest.json").read_text())
    data = json.loads(task["configuration"]["data"]["value"])
    assert data["encoder"] == manifest["encoder"]


def test_a_failing_run_is_a_failed_task(to_train, run, stub, tmp_path):
    (tmp_path / "labels.json").write_text("no labels")
    run(*to_train, code=1)
    (task,) = stub.tasks.values()
    assert task["status"] == "failed"
    assert "LabelError" in stub.bodies("tasks.failed")[0]["status_message"]
    experiment = open_experiment(Tracking(), COMMAND, say=lambda line: None)
    with pytest.raises(KeyboardInterrupt), closing(experiment):
        raise KeyboardInterrupt
    assert [task["status"] for task in stub.tasks.values()] == ["failed", "stopped"]


def test_a_killed_run_is_a_failed_task(stub):
    code = (
        "import os; from eno.tracking.experiment import *;"
        "e = open_experiment(Tracking(), Command('training', 'x', ('-m', 'eno')), say=lambda line: os._exit(9));"
        "e.scalar('loss', 'train', 1.0, 1); import time; time.sleep(60)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 9
    for _ in range(600):
        if stub.bodies("tasks.failed"):
            break
        time.sleep(0.05)
    (failed,) = stub.bodies("tasks.failed")
    assert failed["status_message"] == "the run ended unexpectedly"


@pytest.mark.parametrize("silent", [True, False])
def test_a_server_that_does_not_answer_does_not_block_the_run(silent, stub, monkeypatch):
    if silent:
        stub.silent = True
    else:
        monkeypatch.setenv("CLEARML_API_HOST", "http://127.0.0.1:9")  # no server there
    lines = []
    experiment = open_experiment(Tracking(close_s=0.5), COMMAND, say=lines.append)
    assert experiment.connect({"mlp": {"dropout": 0.5}}) == {}
    for step in range(200_000):  # more than the queue holds
        experiment.scalar("loss", "train", 1.0, step)
    experiment.close()
    assert experiment._process.poll() is not None
    assert any("did not finish within 0.5 s" in line for line in lines)
    assert any("messages were dropped" in line for line in lines)


def test_a_worker_that_cannot_read_its_settings_does_not_run(stub, monkeypatch):
    monkeypatch.setenv("CLEARML_TASK_ID", "task-of-nobody")
    experiment = open_experiment(Tracking(close_s=0.5), COMMAND, say=lambda line: None)
    with pytest.raises(TrackingError, match="did not return the settings"):
        experiment.connect({"mlp": {"dropout": 0.5}})
    experiment.close()


def hooks():
    signals = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    return sys.excepthook, signals, sys.stdout.write, "clearml" in sys.modules


def test_without_configuration_tracking_is_off_and_a_hint_is_shown(monkeypatch, tmp_path):
    lines, before = [], hooks()
    assert isinstance(open_experiment(Tracking(), COMMAND, say=lines.append), NoExperiment)
    (line,) = lines
    assert line.startswith("not tracked: ClearML is not configured. Run clearml-init to configure it")
    assert isinstance(open_experiment(Tracking(mode="off"), COMMAND, say=lines.append), NoExperiment)
    assert len(lines) == 1
    with pytest.raises(ConfigError, match="Run clearml-init, or set"):
        open_experiment(Tracking(mode="online"), COMMAND, say=lines.append)
    for mode in ("auto", "offline", "off"):
        with pytest.raises(ConfigError, match="--queue default needs a ClearML server"):
            open_experiment(Tracking(mode=mode, queue="default"), COMMAND, say=lines.append)
    monkeypatch.setenv("CLEARML_OFFLINE_MODE", "1")
    experiment = open_experiment(Tracking(), COMMAND, say=lines.append)
    assert isinstance(experiment, ClearMLExperiment)
    experiment.close()
    assert session_file(lines).is_file()
    assert hooks() == before  # the SDK would change them


def test_importing_a_session_needs_a_server(run, tmp_path):
    problem = run("tracking", "import", tmp_path / "session.zip", code=1).exception
    assert isinstance(problem, ConfigError)
    assert "Run: clearml-init" in str(problem)


@pytest.mark.parametrize("head", ["mlp", "linear", "lightgbm", "knn", "blend"])
def test_unedited_settings_change_nothing(head):
    chosen = load_settings(None, [f"head={head}", "mlp.hidden=[64, 32]", "data_root=some where", "windows.count=3"])
    sections = sections_of(chosen, used_of(chosen, head))
    texts = {section: {name: as_text(value) for name, value in values.items()} for section, values in sections.items()}
    again = with_changes(chosen, texts)
    assert again.data_root == chosen.data_root and again.windows == chosen.windows
    fresh = create_head(head, **again.options_of(head)), create_head(head, **chosen.options_of(head))
    plain = [json.dumps(one.get_params(), default=list, sort_keys=True) for one in fresh]
    if head != "blend":  # its options include those of its heads, now with all defaults
        assert plain[0] == plain[1]
    assert with_changes(Settings(), {"mlp": {"max_epochs": ""}}).model_dump() == Settings().model_dump()
    with pytest.raises(ConfigError, match=r"mlp.dropout = '2': .*less than 1"):
        with_changes(chosen, {"mlp": {"dropout": "2"}})


def test_epochs_are_reported_and_training_is_the_same():
    rng = np.random.default_rng(0)
    X, X_val = rng.standard_normal((120, 6)).astype(np.float32), rng.standard_normal((40, 6)).astype(np.float32)
    Y, Y_val = ((values[:, :3] > 0).astype(np.float32) for values in (X, X_val))
    reported = []
    heads = [MLPHead(max_epochs=1, device="cpu"), MLPHead(max_epochs=1, device="cpu")]
    heads[0].on_epoch = reported.append
    for head in heads:
        head.fit(X, Y, X_val, Y_val)
    first, second = (head.predict_proba(X_val) for head in heads)
    assert np.array_equal(first, second)
    (epoch,) = reported
    assert epoch == heads[1].history[0] and epoch.number == 1
    expected = np.mean([log_loss(Y_val[:, k], first[:, k].astype(float)) for k in range(3)])
    assert epoch.val_loss == pytest.approx(expected, rel=1e-5)


def test_only_the_commit_is_sent_and_no_code_or_password(tmp_path, monkeypatch):
    package = tmp_path / "eno"
    package.mkdir()
    (package / "__init__.py").write_text("")
    for words in (["init", "-q", "-b", "main"], ["add", "-A"],
                  ["-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-qm", "all"],
                  ["remote", "add", "origin", "https://me:secret@git.example.org/eno.git"]):  # fmt: skip
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    (package / "__init__.py").write_text("KEY = 'confidential'")
    monkeypatch.setattr(git_state.version, "__file__", str(package / "__init__.py"))
    script = git_state.script_of(("-m", "eno", "train", "--store", "a folder"))
    assert script["repository"] == "https://git.example.org/eno.git"
    assert script["entry_point"] == "-m eno train --store 'a folder'"
    assert git_state.uncommitted()
    assert not {"secret", "confidential"} & set(json.dumps(script).replace("'", " ").split())
    assert "secret" not in json.dumps(script) and "confidential" not in json.dumps(script)
    address = f"git+https://git.example.org/eno.git@{script['commit']}"
    assert git_state.requirement() in (f"eno @ {address}", f"eno-music @ {address}")
