"""Tracking with the unmodified ClearML SDK, offline and with a stub of the server."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from sklearn.metrics import log_loss
from typer.testing import CliRunner

from eno.cli import app
from eno.cli.tracked import TrackingOptions, closing, opened, sections_of, used_of, with_changes
from eno.config import Settings, TrackingSettings, load_settings
from eno.data.labels.encoder import LabelEncoder
from eno.errors import ConfigError, Interrupted, ModelError, TrackingError
from eno.inference.predictor_folder import PredictorParts
from eno.models import MLPHead, create_head
from eno.tracking import clearml_experiment, git_state
from eno.tracking.clearml_experiment import ClearMLExperiment, as_text
from eno.tracking.clearml_models import fetch_predictor
from eno.tracking.clearml_process import interrupt_run
from eno.tracking.console_copy import ConsoleCopy
from eno.tracking.experiment import INTERRUPTED, Command, NoExperiment, Tracking, open_experiment
from eno.training.record import TrainingRecord
from scripts import serve, train
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
            "--head", "mlp", "--set", "mlp.max_epochs=3", "--model", tmp_path / "model"]  # fmt: skip


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
    history = json.loads((tmp_path / "model" / "head" / "0" / "head.json").read_text())["history"]
    for (title, series), name in {("loss", "train"): "train_loss", ("mAP", "validation"): "val_map"}.items():
        wanted = [(number, pytest.approx(one[name], rel=1e-6)) for number, one in enumerate(history, 1)]
        assert found[title, series] == wanted
    assert len(found["loss", "validation"]) == len(found["learning rate", "train"]) == 3
    ((_, value),) = found["Summary", "validation mAP"]
    assert value == pytest.approx(record.validation["map_macro"])
    (model,) = task["offline_output_models"]
    assert model["init"]["label_enumeration"] == {label: i for i, label in enumerate(GENRES + DESCRIPTORS)}
    assert record.encoder in model["init"]["tags"]
    assert not task["execution"]["artifacts"]
    assert [name for name in files if name.endswith(".zip")] == ["models/predictor.zip"]

    evaluated = session_of(run("evaluate", tmp_path / "model", "--tracking", "offline"))
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
        assert names == {"first": ("completed", "mlp"), "evaluate model": ("completed", "auto")}
        assert curves(stub.events)["loss", "train"] == found["loss", "train"]
        (model,) = stub.models.values()
        (archive,) = (content for name, content in stub.files.items() if name.endswith("models/predictor.zip"))
    assert model["uri"].startswith("http") and "package" in model["system_tags"]
    zipfile.ZipFile(io.BytesIO(archive)).extractall(tmp_path / "downloaded")
    X = np.random.default_rng(0).standard_normal((5, DIM)).astype(np.float32)
    heads = [PredictorParts.load(folder).head for folder in (tmp_path / "downloaded", tmp_path / "model")]
    assert np.array_equal(*(head.predict_proba(X) for head in heads))


def test_an_edited_task_runs_with_the_edited_settings(to_train, run, stub, collection, tmp_path, monkeypatch):
    run(*to_train, "--tracking", "online", "--project", "mine")
    (task,) = stub.tasks.values()
    assert task["status"] == "completed"
    assert stub.bodies("projects.create")[0]["name"] == "mine"
    assert [name.rpartition("/")[2] for name in stub.files if name.endswith(".zip")] == ["predictor.zip"]
    values = task["hyperparams"]
    values["mlp"]["hidden"]["value"], values["mlp"]["dropout"]["value"] = "[8, 4]", "0.25"
    values["calibration"]["rule"]["value"] = "scut"
    values["Args"]["model"]["value"] = str(tmp_path / "edited")
    assert values["Args"]["store"]["value"] == str(collection.store.path)
    other = shutil.copytree(collection.store.path, tmp_path / "other store")
    values["Args"]["store"]["value"] = str(other)
    monkeypatch.setenv("CLEARML_TASK_ID", task["id"])  # as an agent does
    run(*to_train)
    record = TrainingRecord.load(tmp_path / "edited")
    assert record.options == {"hidden": [8, 4], "dropout": 0.25, "max_epochs": 3}
    assert (record.calibration["rule"], record.store) == ("scut", str(other))
    assert len(stub.tasks) == 1
    problems, checked = schema_problems(stub.calls)
    assert problems == []
    assert {"tasks.create", "tasks.edit", "models.create"} <= set(checked)


def git(folder, *words):
    as_somebody = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    done = subprocess.run(["git", *as_somebody, *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def pushed(tmp_path, monkeypatch):
    """Let eno's code be a clone whose commits are on its remote."""
    folder = tmp_path / "clone"
    (folder / "eno").mkdir(parents=True)
    (folder / "eno" / "version.py").write_text("")
    git(tmp_path, "init", "-q", "--bare", "remote.git")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "all")
    git(folder, "remote", "add", "origin", "../remote.git")
    git(folder, "push", "-q", "--set-upstream", "origin", "main")
    monkeypatch.setattr(git_state.version, "__file__", str(folder / "eno" / "version.py"))
    return folder


def test_an_enqueued_command_does_not_run_locally(to_train, run, stub, tmp_path, pushed):
    result = run(*to_train, "--queue", "default")
    assert "queued: a worker of the queue default will run it" in result.stderr
    (task,) = stub.tasks.values()
    assert task["status"] == "queued"
    assert stub.bodies("tasks.enqueue")[0]["queue"] == "queue-1"
    script = task["script"]
    assert script["repository"] == str(tmp_path / "remote.git")
    assert script["version_num"] == git(pushed, "rev-parse", "HEAD")
    assert script["requirements"]["pip"].splitlines()[-1] == "."
    assert str(tmp_path / "model") in script["entry_point"]
    assert not (tmp_path / "model").exists()
    problem = run(*to_train, "--queue", "nowhere", code=1).exception
    assert isinstance(problem, TrackingError)
    assert "there is no queue 'nowhere'; the server has default" in str(problem)
    assert len(stub.tasks) == 1


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

    monkeypatch.setenv("CLEARML_TASK_ID", task["id"])
    chosen = vars(train.parser().parse_args([])) | {"data_root": Path("data")}
    with opened(TrackingOptions(), TrackingSettings(), train.COMMAND) as experiment:
        edited = train.edited(chosen, experiment)
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
        "e = open_experiment(Tracking(), Command('training', 'train', ('-m', 'eno')), say=lambda line: os._exit(9));"
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
    assert any("was cut off" in line for line in lines)
    assert any("messages were dropped" in line for line in lines)


def test_a_worker_that_cannot_read_its_settings_does_not_run(stub, monkeypatch):
    monkeypatch.setenv("CLEARML_TASK_ID", "task-of-nobody")
    experiment = open_experiment(Tracking(close_s=0.5), COMMAND, say=lambda line: None)
    with pytest.raises(TrackingError, match="did not return the settings"):
        experiment.connect({"mlp": {"dropout": 0.5}})
    experiment.close()


def wait_for(found, what=""):
    for _ in range(600):
        if found():
            return
        time.sleep(0.05)
    pytest.fail(f"waited in vain {what}")


def running(stub):
    wait_for(lambda: any(task["status"] == "in_progress" and "script" in task for task in stub.tasks.values()))
    return next(iter(stub.tasks))


def test_a_run_stops_when_its_task_is_aborted_on_the_server(stub):
    lines = []
    experiment = open_experiment(Tracking(), COMMAND, say=lines.append)
    with pytest.raises(KeyboardInterrupt), closing(experiment):
        task = running(stub)
        wait_for(lambda: "_abort_callback_timeout" in stub.tasks[task].get("runtime", {}))
        stub.abort(task)
        threading.Event().wait(60)  # a call that only a signal ends
    assert any("the task was aborted in ClearML; stopping the run" in line for line in lines)
    assert (stub.tasks[task]["status"], stub.tasks[task]["status_message"]) == ("stopped", "aborted in ClearML")


def test_a_background_job_that_ignores_interrupts_is_stopped_too():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with pytest.raises(KeyboardInterrupt):
            threading.Timer(0.1, interrupt_run).start()
            for _ in range(6000):
                time.sleep(0.01)
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_embedding_that_was_interrupted_is_a_stopped_task(stub):
    experiment = open_experiment(Tracking(), COMMAND, say=lambda line: None)
    with pytest.raises(Interrupted), closing(experiment):
        raise Interrupted("Interrupted with 3 tracks left.")
    (task,) = stub.tasks.values()
    assert (task["status"], task["status_message"]) == ("stopped", "stopped by the user")


def test_lost_and_found_servers_are_reported_at_once(stub):
    lines = []
    experiment = open_experiment(Tracking(close_s=60), COMMAND, say=lines.append)
    running(stub)
    stub.gone = True
    wait_for(lambda: any("does not answer" in line and "The run goes on" in line for line in lines))
    stub.gone = False
    wait_for(lambda: any("answers again" in line for line in lines))
    experiment.scalar("loss", "train", 1.0, 1)
    experiment.close()
    (task,) = stub.tasks.values()
    assert task["status"] == "completed" and curves(stub.events)["loss", "train"] == [(1, 1.0)]


def test_the_end_of_a_run_does_not_wait_for_a_server_that_is_gone(monkeypatch, stub):
    monkeypatch.setenv("CLEARML_API_HOST", "http://127.0.0.1:9")
    waited, lines = [], []
    experiment = open_experiment(Tracking(close_s=3600), COMMAND, say=lines.append)
    wait_for(lambda: any("(http://127.0.0.1:9: Connection refused)" in line for line in lines))
    monkeypatch.setattr(clearml_experiment, "_GONE_S", 0.3)
    monkeypatch.setattr(experiment._process, "terminate", lambda: waited.append("asked a blocked process to end"))
    experiment.close()
    assert lines[-1].startswith("tracking: the upload was cut off, because the server does not answer")
    assert not waited
    with pytest.raises(TrackingError, match=r"does not answer .*Connection refused"):  # rather than after minutes
        ClearMLExperiment(Tracking(queue="default"), COMMAND, offline=False, say=lines.append).connect({})


def test_a_run_whose_upload_is_cut_off_is_not_left_running(stub, tmp_path):
    lines = []
    experiment = open_experiment(Tracking(), COMMAND, say=lines.append)
    running(stub)
    stub.slow_files = True
    (tmp_path / "results").write_text("x")
    experiment.artifact("results", tmp_path / "results")
    wait_for(lambda: stub.held)

    def interrupt():  # Ctrl-C while the end waits
        wait_for(experiment._ended.is_set)
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        experiment.close()
    assert lines[-1] == "tracking: the upload was cut off. The results on disk are complete."
    (task,) = stub.tasks.values()
    assert (task["status"], task["status_message"]) == ("completed", "the upload was cut off")
    stub.slow_files = False


@pytest.mark.parametrize(("project", "name"), [("ab", None), ("a/long name", None), (None, "ab"), (None, "  a ")])
def test_names_that_the_server_refuses_are_refused_first(project, name, stub):
    with pytest.raises(ConfigError, match="is too short: ClearML needs at least 3 characters"):
        open_experiment(Tracking(project=project, name=name), COMMAND, say=lambda line: None)
    assert not stub.tasks


@pytest.mark.parametrize("name", ["a/b c", "Köln 'live' \"2\"", "音楽の", "x" * 500])
def test_other_names_are_sent_as_they_are(name, stub):
    experiment = open_experiment(Tracking(project=f"eno/{name}", name=name), COMMAND, say=lambda line: None)
    experiment.scalar("loss", "train", 1.0, 1)
    experiment.close()
    (task,) = stub.tasks.values()
    assert (task["name"], task["status"]) == (name, "completed")
    assert stub.bodies("projects.create")[0]["name"] == f"eno/{name}"


def test_evaluation_and_retraining_name_their_model_and_its_task(to_train, run, stub, tmp_path):
    short = [*to_train[:-1], tmp_path / "ab"]
    run(*short)
    (task,), ((model_id, model),) = stub.tasks.values(), stub.models.items()
    assert model["name"] == "predictor ab"
    assert str(tmp_path) not in model.get("comment", "") and "/tmp" not in model.get("comment", "")
    run("evaluate", "--model", tmp_path / "ab")
    run("retrain", "--model", tmp_path / "ab", "--labels", tmp_path / "labels.json")
    _, evaluated, retrained = stub.tasks.values()
    for one in (evaluated, retrained):
        assert [given["model"] for given in one["models"]["input"]] == [model_id]
        assert one["parent"] == task["id"]
    assert len(stub.models) == 2
    log = "".join(event["msg"] for event in stub.events if event["type"] == "log" and event["task"] == task["id"])
    assert "validation mAP" in log and "\x1b" not in log
    problems, _ = schema_problems(stub.calls)
    assert problems == []


def test_a_clone_loses_what_another_run_said_about_its_result(stub, monkeypatch):
    mine, stale = (
        {"mine", "split-brain", "musicnn"},
        {"mlp", "musicnn-0123456789ab", "split 0a1b2c", "test split", "failed"},
    )
    stub.tasks_create({"name": "clone", "tags": sorted(mine | stale)})
    (task,) = stub.tasks.values()
    monkeypatch.setenv("CLEARML_TASK_ID", task["id"])
    experiment = open_experiment(Tracking(), COMMAND, say=lambda line: None)
    experiment.connect({"mlp": {"dropout": 0.5}})
    experiment.tag("linear", "split 0a1b2d")
    experiment.close()
    assert set(task["tags"]) == mine | {"linear", "split 0a1b2d"}


def test_imported_sessions_end_as_the_runs_did_and_are_imported_once(stub, run):
    sessions = []
    for problem in (None, "LabelError: no labels", INTERRUPTED):
        lines = []
        experiment = open_experiment(Tracking(mode="offline"), COMMAND, say=lines.append)
        experiment.input_model("training 0123")
        experiment.close(problem)
        sessions.append(session_file(lines))
    stub.models_create(
        {"name": "earlier", "tags": ["training 0123"], "task": "made-it", "uri": "http://x/predictor.zip"}
    )
    for before in (0, 3):
        found = subprocess.run(
            [sys.executable, "-m", "eno", "tracking", "import", *sessions],
            capture_output=True, text=True, check=True, cwd=ROOT, env=os.environ,
        )  # fmt: skip
        assert found.stdout.count("(imported before)") == before
    assert [(task["status"], task.get("status_message")) for task in stub.tasks.values()] == [
        ("completed", None), ("failed", "LabelError: no labels"), ("stopped", "stopped by the user"),
    ]  # fmt: skip
    assert all(task["parent"] == "made-it" and task["models"]["input"] for task in stub.tasks.values())


def test_a_model_id_that_does_not_exist_is_named(stub):
    with pytest.raises(ModelError, match="has no model with this id"):
        fetch_predictor("0" * 32)


def test_importing_says_that_the_server_is_gone(stub, monkeypatch, tmp_path):
    lines = []
    open_experiment(Tracking(mode="offline"), COMMAND, say=lines.append).close()
    monkeypatch.setenv("CLEARML_API_HOST", "http://127.0.0.1:9")
    found = subprocess.run(
        [sys.executable, "-m", "eno", "tracking", "import", session_file(lines)],
        capture_output=True, text=True, cwd=ROOT, env=os.environ,
    )  # fmt: skip
    assert found.returncode == 1 and "does not answer (http://127.0.0.1:9: Connection refused)" in found.stderr


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
        with pytest.raises(ConfigError, match="--clearml-queue default needs a ClearML server"):
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


def test_what_a_worker_could_not_run_is_not_enqueued(pushed, stub, monkeypatch):
    def problem():
        with pytest.raises(ConfigError) as refused:
            open_experiment(Tracking(queue="default"), COMMAND, say=lambda line: None)
        return str(refused.value)

    assert git_state.worker_obstacle(COMMAND.entry) is None
    (pushed / "README.md").write_text("this does not run")
    assert git_state.worker_obstacle(COMMAND.entry) is None
    for name in ("version.py", "new.py"):  # one that git knows and one that it does not
        (pushed / "eno" / name).write_text("changed = True")
        assert f"changes that are not committed: eno/{name}. Commit and push them" in problem()
        git(pushed, "add", "-A")
        git(pushed, "commit", "-qm", name)
        assert "is not on the remote origin" in problem()
        git(pushed, "push", "-q")
        assert git_state.worker_obstacle(COMMAND.entry) is None
    git(pushed, "update-ref", "-d", "refs/remotes/origin/main")  # as in a clone of one tag: the remote is asked
    git(pushed, "checkout", "-q", "--detach")
    assert git_state.worker_obstacle(COMMAND.entry) is None
    assert git_state.script_of(COMMAND.entry)["branch"] == ""
    git(pushed, "remote", "rename", "origin", "elsewhere")
    assert git_state.worker_obstacle(COMMAND.entry) is None
    git(pushed, "remote", "remove", "elsewhere")
    assert "has no git remote that a worker can clone" in problem()
    (pushed / ".git").rename(pushed / "no-git")
    monkeypatch.setattr(git_state, "_distribution", lambda: None)  # as on a worker that only cloned the repository
    assert "does not come from git" in problem()
    assert git_state.script_of(COMMAND.entry)["packages"] == ""
    assert not stub.tasks


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("git@git.example.org:music/eno.git", "git+ssh://git@git.example.org/music/eno.git"),
        ("git.example.org:eno.git", "git+ssh://git.example.org/eno.git"),
        ("https://me:secret@git.example.org/eno.git", "git+https://git.example.org/eno.git"),
        ("/srv/my repositories/eno.git", "git+file:///srv/my%20repositories/eno.git"),
    ],
)
def test_the_requirement_is_one_word(address, expected, pushed):
    """Containers split lists of requirements at spaces."""
    git(pushed, "remote", "set-url", "origin", address)
    assert git_state.requirement() == f"{expected}@{git(pushed, 'rev-parse', 'HEAD')}"


def test_only_the_commit_is_sent_and_no_code_or_password(pushed):
    git(pushed, "remote", "set-url", "origin", "https://me:secret@git.example.org/eno.git")
    (pushed / "eno" / "version.py").write_text("KEY = 'confidential'")
    script = git_state.script_of(("-m", "eno", "train", "--store", "a folder"))
    assert script["repository"] == "https://git.example.org/eno.git"
    assert script["entry_point"] == "-m eno train --store 'a folder'"
    assert "secret" not in json.dumps(script) and "confidential" not in json.dumps(script)


def test_a_worker_gets_what_the_project_requires():
    packages = git_state.script_of(COMMAND.entry)["packages"].splitlines()
    names = {line.partition("==")[0] for line in packages}
    assert {"torch", "clearml", "optuna", "librosa"} <= names  # two of them belong to extras
    assert not names & {"pytest", "eno", "eno-music"}


def test_serve_prints_a_line_that_a_container_can_use(to_train, run, stub, tmp_path, pushed, monkeypatch, capsys):
    run(*to_train, "--tracking", "off")
    monkeypatch.setattr(sys, "argv", ["serve.py", str(tmp_path / "model"), "--name", "eno-v1"])
    assert serve.main() == 0
    (line,) = (one for one in capsys.readouterr().out.splitlines() if one.startswith("CLEARML_EXTRA_PYTHON_PACKAGES="))
    assert line.partition("=")[2].split() == [f"git+file://{tmp_path}/remote.git@{git(pushed, 'rev-parse', 'HEAD')}"]
    (task,) = stub.tasks.values()
    assert task["script"]["entry_point"] == f"scripts/serve.py {tmp_path / 'model'} --name eno-v1"
    (pushed / "eno" / "version.py").write_text("changed = True")
    assert serve.main() == 0
    assert "cannot install this version of eno yet" in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["serve.py", str(tmp_path / "model"), "--name", "ab"])
    assert serve.main() == 1
    assert len(stub.tasks) == 2


def test_checkpoints_of_the_cnn_are_not_registered_as_models(tmp_path):
    """A script that was started by clearml-task calls Task.init, which hooks into torch.save."""
    code = (
        "import sys, pathlib, torch; from clearml import Task; Task._report_subprocess_enabled = False;"
        "Task.set_offline(True); task = Task.init('eno', 'train', auto_connect_streams=False);"
        "from eno.cnn.training import _save_weights;"
        "_save_weights(pathlib.Path(sys.argv[1]), torch.nn.Linear(2, 2)); task.close();"
        "print(task.get_offline_mode_folder())"
    )
    command = [sys.executable, "-c", code, tmp_path / "best_model.pt"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    task = json.loads((Path(done.stdout.splitlines()[-1]) / "task.json").read_text())
    assert not task.get("offline_output_models")
    assert set(torch.load(tmp_path / "best_model.pt", weights_only=True)) == {"weight", "bias"}


def test_the_log_has_complete_lines_as_they_look_in_the_end(monkeypatch):
    lines, screen = [], io.StringIO()
    monkeypatch.setattr(sys, "stdout", screen)
    copy = ConsoleCopy(lines.append)
    for text in ("one", " ", "line", "\r", "\n"):
        sys.stdout.write(text)
    sys.stdout.write("\r\x1b[2K 10 %\r\x1b[2K 90 %\r\x1b[2K\x1b[1mdone\x1b[0m\n\nWindows\r\nunfinished")
    kept = sys.stdout  # as a logging handler does
    copy.close()
    print(" later", file=kept)
    assert lines == ["one line", "done", "Windows"]
    assert sys.stdout is screen and screen.getvalue().startswith("one line\r\n\r\x1b[2K 10 %")
