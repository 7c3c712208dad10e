import dataclasses
import json
import tracemalloc

import numpy as np
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from eno.errors import LabelError, ModelError
from eno.evaluation.diagnosis import Predictions
from eno.evaluation.evaluation import evaluate_predictions
from eno.evaluation.metrics import evaluate
from eno.evaluation.report import METRICS_FILE, PER_LABEL_FILE, REPORT_FILE, metrics_table, write_report
from eno.models.aggregation import AGGREGATIONS, aggregate
from tests.exploration.test_report import Page

LABELS = ["<script>alert(1)</script>", "drum & bass", 'calm "very"', "dark/deep", "空洞", "never"]
ODD = 'artist 1/it\'s 100% "odd" #1/\\xff & <b>.flac'  # as `printable` spells a name that is not UTF-8


@pytest.fixture
def predictions():
    random = np.random.default_rng(0)
    albums = np.repeat(np.arange(24), 3)
    truth = (random.random((24, 6)) < [0.5, 0.3, 0.3, 0.2, 0.2, 0])[albums]
    logits = 2 * truth - 1.2 + random.normal(size=truth.shape)
    return {
        "labels": LABELS,
        "families": ["genre"] * 4 + ["descriptor"] * 2,
        "track_ids": [ODD, *(f"artist {a // 2}/album {a}/{i} track.flac" for i, a in enumerate(albums) if i)],
        "albums": [f"album {a}" for a in albums],
        "groups": np.array([f"artist {a // 2}" for a in albums], dtype=object),
        "truth": truth,
        "probabilities": (1 / (1 + np.exp(-logits))).astype(np.float32),
        "thresholds": np.array([0.5, 0.4, 0.45, 0.4, 0.3, 0.4]),
        "train_positives": np.array([60, 30, 30, 10, 10, 2]),
        "raw": (1 / (1 + np.exp(-3 * logits - 2))).astype(np.float32),
    }


def test_evaluation_agrees_with_its_parts(predictions):
    found = evaluate_predictions(**predictions)
    truth, p, limits = (predictions[name] for name in ("truth", "probabilities", "thresholds"))
    assert found.tracks.metrics == evaluate(truth, p, thresholds=limits)
    assert found.fixed == evaluate(truth, predictions["raw"])
    assert found.gain["f1_macro"].value == pytest.approx(found.tracks.metrics.f1_macro - found.fixed.f1_macro)
    assert list(found.aggregations) == list(AGGREGATIONS)
    for way, metrics in found.aggregations.items():
        albums = aggregate(p, predictions["albums"], way)[1]
        assert metrics == evaluate(truth[::3], albums, thresholds=limits)
    assert found.albums.metrics == found.aggregations["mean_logit"]
    assert (found.albums.metrics.rows, found.artists) == (24, 12)
    assert set(found.tracks.parts) == {"genres", "descriptors", "head", "torso", "tail"}
    assert found.common_threshold is None
    assert [one.name for one in found.precision_recall[:1]] == ["all decisions"]


def test_takes_little_memory_beside_its_input(monkeypatch, predictions):
    for module in ("eno.evaluation.metrics", "eno.models.average_precision", "eno.models.aggregation"):
        monkeypatch.setattr(f"{module}._VALUES_AT_ONCE", 20_000)
    random, (rows, labels) = np.random.default_rng(0), (2_000, 100)
    truth, probabilities = (random.random((rows, labels), np.float32) for _ in range(2))
    numbers = np.arange(rows)
    arguments = {
        "labels": [f"label {i}" for i in range(labels)],
        "families": ["genre"] * labels,
        "track_ids": [f"{i}.flac" for i in numbers],
        "albums": numbers.astype(str).astype(object),  # one track each: as many probabilities of albums as of tracks
        "groups": (numbers % 7).astype(str).astype(object),
        "truth": truth < np.linspace(0, 0.1, labels),
        "probabilities": probabilities,
        "thresholds": 0.95,
        "train_positives": np.arange(labels),
        "known": random.random((rows, labels)) < 0.9,
        "raw": np.sqrt(probabilities),
        "train": Predictions(truth < 0.1, probabilities),
    }
    evaluate_predictions(**predictions)  # imports what is needed
    tracemalloc.start()
    try:
        evaluate_predictions(**arguments)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 7 * probabilities.nbytes


def test_files_of_the_report(predictions, tmp_path):
    found = evaluate_predictions(**predictions)
    write_report(found, tmp_path / "new")
    text = (tmp_path / "new" / METRICS_FILE).read_text("utf-8")
    content = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert content["tracks"]["metrics"] == dataclasses.asdict(found.tracks.metrics)
    assert content["tracks"]["intervals"]["map_macro"]["low"] == found.tracks.intervals["map_macro"].low
    assert content["albums"]["aggregations"]["max"]["f1_macro"] == found.aggregations["max"].f1_macro
    assert pq.read_table(tmp_path / "new" / PER_LABEL_FILE).equals(found.per_label)


def test_page_is_self_contained_and_escaped(predictions, tmp_path):
    audio = tmp_path / "raw audio"
    write_report(evaluate_predictions(**predictions), tmp_path / "models" / "x", audio_roots=audio)
    page = Page((tmp_path / "models" / "x" / REPORT_FILE).read_text("utf-8"))
    assert not {"script", "link", "b<", "iframe"} & set(page.tags)
    pictures = [one for one in page.addresses if one.startswith("data:image/")]
    links = {one[1:] for one in page.addresses if one.startswith("#")}
    tracks = [one for one in page.addresses if not one.startswith(("data:image/", "#"))]
    assert len(pictures) == 6
    assert all(page.alternatives)
    assert links == page.ids == {
        "overview", "diagnosis", "ranking", "thresholds-and-calibration", "albums", "confusion", "listen", "labels",
    }  # fmt: skip
    assert tracks
    assert all(one.startswith("../../raw%20audio/artist%20") for one in tracks)
    assert page.tags.count("audio") * 2 == len(tracks)
    for label in LABELS[:5]:
        assert label in page.text


def test_links_to_files_with_unusual_names(predictions, tmp_path):
    from urllib.parse import unquote_to_bytes

    file = (
        tmp_path / "audio" / "artist 1" / 'it\'s 100% "odd" #1' / b"\xff & <b>.flac".decode("utf-8", "surrogateescape")
    )
    file.parent.mkdir(parents=True)
    try:
        file.touch()
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    truth, p = predictions["truth"], predictions["probabilities"]
    truth[0, 0], p[0, 0] = False, 0.999  # the most confident error
    write_report(evaluate_predictions(**predictions), tmp_path, audio_roots=tmp_path / "audio")
    page = Page((tmp_path / REPORT_FILE).read_text("utf-8"))
    address = next(one for one in page.addresses if "odd" in one)
    assert (bytes(tmp_path) + b"/" + unquote_to_bytes(address)) == bytes(file)
    assert ODD.rsplit("/", 1)[1] in page.text


def test_reports_are_reproducible(predictions, tmp_path):
    for name in ("a", "b"):
        write_report(evaluate_predictions(**predictions), tmp_path / name)
    for file in (METRICS_FILE, PER_LABEL_FILE, REPORT_FILE):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert "<audio" not in (tmp_path / "a" / REPORT_FILE).read_text("utf-8")


def test_training_tracks_are_used_for_the_diagnosis(predictions):
    train = Predictions(predictions["truth"], predictions["truth"] * 0.9 + 0.05)
    findings = evaluate_predictions(**predictions, train=train).findings
    assert [one.found for one in findings[:2]] == [False, True]


@pytest.mark.parametrize("case", ["one artist", "one label", "constant", "one threshold", "perfect", "few labels"])
def test_edge_cases_have_reports(predictions, tmp_path, case):
    if case == "one artist":
        predictions["groups"] = ["a"] * 72
    elif case in ("one label", "few labels"):
        count = 1 if case == "one label" else 2
        for name in ("truth", "probabilities", "raw"):
            predictions[name] = predictions[name][:, :count]
        for name in ("labels", "families", "thresholds", "train_positives"):
            predictions[name] = predictions[name][:count]
    elif case == "constant":
        predictions["probabilities"] = np.full((72, 6), 0.2, np.float32)
    elif case == "one threshold":
        predictions |= {"thresholds": 0.5, "raw": None}
    else:
        predictions["probabilities"] = predictions["truth"] * np.float32(0.9) + np.float32(0.05)
    found = evaluate_predictions(**predictions)
    write_report(found, tmp_path)
    json.loads((tmp_path / METRICS_FILE).read_text("utf-8"), parse_constant=lambda name: pytest.fail(name))
    assert (found.common_threshold == 0.5) == (case in ("one threshold", "one label"))
    if case == "one artist":
        assert np.isnan(found.tracks.intervals["map_macro"].low)
    if case == "perfect":
        assert (found.tracks.metrics.f1_macro, found.worst, found.confused) == (1, [], [])
    if case == "constant":
        assert next(one for one in found.findings if one.issue == "constant predictions").found


def test_constant_labels_are_refused(predictions):
    for truth in (np.zeros((72, 6)), np.tile([1, 1, 0, 0, 1, 0], (72, 1))):
        with pytest.raises(LabelError, match=r"None of the 6 labels .* 72 test tracks"):
            evaluate_predictions(**predictions | {"truth": truth})


def test_nan_predictions_are_refused(predictions):
    predictions["probabilities"][[3, 5], 2] = np.nan
    with pytest.raises(ModelError, match=r"NaN for 2 of 72 tracks, first artist 0/album 1/3 track.flac"):
        evaluate_predictions(**predictions)


@pytest.mark.parametrize("name", ["track_ids", "albums", "groups", "labels", "train_positives"])
def test_lengths_must_match(predictions, name):
    with pytest.raises(ValueError, match=f"{name} has"):
        evaluate_predictions(**predictions | {name: predictions[name][1:]})


def test_table_fits_80_columns(predictions):
    found = evaluate_predictions(**predictions)
    with (console := Console(width=80)).capture() as captured:
        console.print(
            metrics_table({"tracks": found.tracks, "albums [/]": found.albums, "not calibrated": found.fixed})
        )
    text = captured.get()
    interval = found.tracks.intervals["map_macro"]
    for expected in (f"{interval.value:.3f}", f"{interval.low:.2f}–{interval.high:.2f}", "albums [/]", "1 labels"):
        assert expected in text
    assert "…" not in text
