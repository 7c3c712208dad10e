"""Evaluate predictors: ``evaluate`` and ``compare``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from eno.cli.commands import TRAINING, command
from eno.cli.options import (
    LIBRARY,
    AudioRootOption,
    DeviceOption,
    FeedbackOption,
    JsonOption,
    LabelsOption,
    LibraryOptions,
    ModelOption,
    SplitsOption,
    WeightOption,
    print_json,
    read_corrections,
    shown,
    warn,
)
from eno.cli.tracked import FORMER_TRACKING, Run, TrackingOptions, tracked, used_of
from eno.console import console, progress
from eno.errors import ConfigError
from eno.files import AudioRoots

if TYPE_CHECKING:
    from eno.training.collection import PredictionSource

app = typer.Typer()


@command(app, panel=TRAINING, former={**FORMER_TRACKING, "--part": "--split"}, former_argument="--model")
def evaluate(
    where: LibraryOptions,
    tracking: TrackingOptions,
    model: ModelOption = None,
    store: Annotated[
        list[str] | None,
        typer.Option(
            "--store",
            help="Embedding store; repeat it for several (default: those it was trained on)",
            rich_help_panel=LIBRARY,
        ),
    ] = None,
    split: Annotated[Literal["test", "val", "train"], typer.Option(help="Split to evaluate on")] = "test",
    out: Annotated[Path | None, typer.Option(help="Folder for the report (default: MODEL/evaluation)")] = None,
    audio_root: AudioRootOption = None,
    resamples: Annotated[int | None, typer.Option(hidden=True)] = None,
    splits: SplitsOption = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Evaluate a predictor on held-out tracks. Writes metrics, a table of all labels, and an HTML report."""
    if resamples is not None:
        warn("--resamples is deprecated and will be removed; confidence intervals no longer use random samples")
    library = where.open(model=model, device=device, audio_root=audio_root)
    arguments = {"model": library.settings.model, "store": store, "split": split, "out": out,
                 "audio_root": [str(folder) for folder in library.audio_roots.folders], "splits": splits}  # fmt: skip
    name = f"evaluate {library.settings.model.name}"
    with tracked(evaluate, "evaluation", library, arguments, tracking, name=name) as run:
        _evaluate(run, as_json=as_json)


def _evaluate(run: Run, *, as_json: bool) -> None:
    from eno.cnn.predictor import CNN, FeatureCollection
    from eno.evaluation.report import METRICS_FILE, PER_LABEL_FILE, REPORT_FILE, metrics_table, write_report
    from eno.inference.predictor_folder import LABELS, PREDICTOR, update_model_card
    from eno.training.evaluate import evaluate_predictor
    from eno.training.record import EVALUATION, TrainingRecord
    from eno.training.tracker_reports import lineage, report_evaluation, training_tag

    library, given = run.library, run.arguments
    model, split = given["model"], given["split"]
    record = TrainingRecord.load(model)
    run.experiment.input_model(training_tag(model))
    run.experiment.describe("training", asdict(record))
    run.experiment.tag(record.head, record.encoder, f"split {record.split_hash}", f"{split} split")
    if record.head == CNN:
        source: PredictionSource = FeatureCollection(library.settings.data_root, library.settings.device)
    else:
        splits = given["splits"] or Path(record.splits)
        collection = library.collection(given["store"] or record.stores, splits=splits, labels=model / LABELS)
        run.experiment.describe("data", lineage(collection))
        source = collection
    found = evaluate_predictor(model, source, split=split, device=library.settings.device)
    out = given["out"] or model / EVALUATION
    audio = AudioRoots(tuple(map(Path, given["audio_root"])), sections=library.audio_roots.sections)
    try:
        write_report(found, out, audio_roots=audio if audio.folders[0].is_dir() else None)
    finally:
        report_evaluation(run.experiment, found, out)
    if out == model / EVALUATION and (model / PREDICTOR).is_file():
        update_model_card(model)
    if as_json:
        metrics = json.loads((out / METRICS_FILE).read_text(encoding="utf-8"))
        print_json({"model": str(model), "split": split, "report": str(out / REPORT_FILE), **metrics})
        return
    levels = {"tracks": found.tracks, "albums": found.albums}
    console.print(metrics_table(levels, title=f"{model.name}, {split} split"))
    if found.gain:
        gain = ", ".join(f"{name.removeprefix('f1_')} F1 {interval}" for name, interval in found.gain.items())
        console.print(f"gain of the calibrated thresholds over 0.5: {gain}")
    for finding in found.findings:
        if finding.found:
            console.print(f"[bold]{shown(finding.issue)}[/]  {shown(finding.evidence)}")
            console.print(f"  [dim]try {shown(finding.remedy)}[/]")
    absent = [finding.issue for finding in found.findings if finding.found is False]
    console.print(f"not found: {', '.join(absent)}")
    console.print(f"report  {shown(out / REPORT_FILE)}, with {METRICS_FILE} and {PER_LABEL_FILE} next to it")


@command(app, panel=TRAINING, former=FORMER_TRACKING)
def compare(
    where: LibraryOptions,
    tracking: TrackingOptions,
    store: Annotated[
        list[str] | None,
        typer.Option(
            "--store",
            help="Embedding store; repeat it for several (default: all of the library)",
            rich_help_panel=LIBRARY,
        ),
    ] = None,
    head: Annotated[list[str] | None, typer.Option("--head", help="Head; repeat it for several (default: mlp)")] = None,
    joined: Annotated[
        bool, typer.Option("--joined", help="Include the heads on the joined vectors of all of these stores")
    ] = False,
    cnn: Annotated[
        bool, typer.Option("--cnn", help="Include the CNN baseline, on the features of scripts/prepare_data.py")
    ] = False,
    out: Annotated[Path, typer.Option(help="Folder for the tables and predictors")] = Path("models/compare"),
    audio_root: AudioRootOption = None,
    splits: SplitsOption = None,
    labels: LabelsOption = None,
    device: DeviceOption = None,
    feedback: FeedbackOption = None,
    feedback_weight: WeightOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train heads on each of several stores with the same split, and compare them on the same held-out tracks."""
    library = where.open(device=device, audio_root=audio_root)
    heads = list(dict.fromkeys(head or [library.settings.head]))
    stores = store or [str(path) for path in library.stores()]
    arguments = {"store": stores, "head": heads, "joined": joined, "cnn": cnn, "out": out, "splits": splits,
                 "labels": labels, "feedback": feedback, "feedback_weight": feedback_weight}  # fmt: skip
    with tracked(
        compare, "comparison", library, arguments, tracking, name="compare", used=used_of(library.settings, *heads)
    ) as run:
        _compare(run, as_json=as_json)


def _compare(run: Run, *, as_json: bool) -> None:
    from eno.cnn.predictor import cnn_candidate
    from eno.cnn.settings import CNNSettings
    from eno.spec import label_of
    from eno.training.compare import compare_candidates, head_candidate
    from eno.training.comparison_table import comparison_table, write_comparison
    from eno.training.tracker_reports import lineage, report_comparison

    library, given, out = run.library, run.arguments, run.arguments["out"]
    stores = list(dict.fromkeys(given["store"]))
    if given["joined"] and len(stores) < 2:
        raise ConfigError("--joined needs several stores. Repeat --store, or embed with another encoder first.")
    collections = [
        library.collection(places, splits=given["splits"], labels=given["labels"])
        for places in [*([place] for place in stores), *([stores] if given["joined"] else [])]
    ]
    run.experiment.describe("data", {label_of(one.store.specs): lineage(one) for one in collections})
    plans = [library.plan(name) for name in dict.fromkeys(given["head"])]
    corrections = read_corrections(given["feedback"], given["feedback_weight"])
    candidates = [
        head_candidate(label_of(one.store.specs), one, plan, corrections=corrections)
        for one in collections
        for plan in plans
    ]
    root = library.settings.data_root
    baseline = cnn_candidate(root, collections[0].labels, CNNSettings(), plans[0]) if given["cnn"] else None
    if baseline is not None:
        candidates.append(baseline)
    if len(candidates) < 2:
        raise ConfigError("There is only one candidate. Specify several --store or --head, or add --cnn.")
    with progress("comparing") as show:
        rows = compare_candidates(
            candidates,
            out,
            reference=baseline,
            audio_roots=library.present_audio_roots,
            device=library.settings.device,
            on_progress=show,
        )
    files = write_comparison(rows, out)
    report_comparison(run.experiment, rows, files)
    if as_json:
        for row in rows:
            print_json(asdict(row))
        return
    console.print(comparison_table(rows))
    for path in files:
        console.print(f"table   {shown(path)}")
