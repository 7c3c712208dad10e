"""How good heads are: ``evaluate`` and ``compare``."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eno.cli.options import (
    ConfigOption,
    DataRootOption,
    DeviceOption,
    LabelsOption,
    SetOption,
    SplitsOption,
    collection_of,
    plan_of,
    settings,
    shown,
)
from eno.cli.tracked import NameOption, ProjectOption, QueueOption, Run, TrackingOption, tracked, used_of
from eno.console import console, progress
from eno.errors import ConfigError

if TYPE_CHECKING:
    from eno.training.collection import PredictionSource

app = typer.Typer()


class Part(StrEnum):
    """Parts of a split."""

    TEST = "test"
    VAL = "val"
    TRAIN = "train"


@app.command()
def evaluate(
    model: Annotated[Path, typer.Argument(help="Predictor that 'eno train' or scripts/train.py made")],
    store: Annotated[str | None, typer.Option(help="Its vectors (default: the store it was trained on)")] = None,
    part: Annotated[Part, typer.Option(help="Tracks to judge it by")] = Part.TEST,
    out: Annotated[Path | None, typer.Option(help="Folder of the report (default: MODEL/evaluation)")] = None,
    audio_root: Annotated[
        Path | None, typer.Option(help="Folder of the tracks, to listen to the worst errors (default: raw/audio)")
    ] = None,
    resamples: Annotated[int | None, typer.Option(min=1, help="Draws of artists for the intervals")] = None,
    splits: SplitsOption = None,
    device: DeviceOption = None,
    data_root: DataRootOption = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
    tracking: TrackingOption = None,
    queue: QueueOption = None,
    project: ProjectOption = None,
    name: NameOption = None,
) -> None:
    """Judge a predictor by tracks that it has not seen: figures, each label, and a page to read."""
    chosen = settings(config, overrides, device=device, data_root=data_root)
    arguments = {"model": model, "store": store, "part": part, "out": out, "audio_root": audio_root,
                 "resamples": resamples, "splits": splits}  # fmt: skip
    with tracked(
        evaluate, "evaluation", chosen, arguments, name=f"evaluate {model.name}", used=(),
        options=(tracking, queue, project, name),
    ) as run:  # fmt: skip
        _evaluate(run)


def _evaluate(run: Run) -> None:
    from eno.cnn.predictor import CNN, FeatureCollection
    from eno.data.layout import DataRoot
    from eno.evaluation.report import METRICS_FILE, PER_LABEL_FILE, REPORT_FILE, metrics_table, write_report
    from eno.inference.predictor_folder import LABELS
    from eno.training.evaluate import evaluate_predictor
    from eno.training.record import EVALUATION, TrainingRecord
    from eno.training.reports import lineage, report_evaluation

    chosen, given = run.settings, run.arguments
    model, part = given["model"], given["part"]
    record = TrainingRecord.load(model)
    run.experiment.describe("training", asdict(record))
    run.experiment.tag(record.head, record.encoder, f"split {record.split_hash}", f"{part} part")
    if record.head == CNN:
        source: PredictionSource = FeatureCollection(chosen.data_root, chosen.device)
    else:
        splits = given["splits"] or Path(record.splits)
        collection = collection_of(chosen, given["store"] or record.store, splits, model / LABELS)
        run.experiment.describe("data", lineage(collection))
        source = collection
    found = evaluate_predictor(model, source, split=part.value, resamples=given["resamples"], device=chosen.device)
    out = given["out"] or model / EVALUATION
    audio = given["audio_root"] or DataRoot(chosen.data_root).audio
    console.print(metrics_table({"tracks": found.tracks, "albums": found.albums}, title=f"{model.name}, {part} part"))
    if found.gain:
        gain = ", ".join(f"{name.removeprefix('f1_')} F1 {interval}" for name, interval in found.gain.items())
        console.print(f"calibrated thresholds are better than 0.5 by: {gain}")
    for finding in found.findings:
        if finding.found:
            console.print(f"[bold]{shown(finding.issue)}[/]  {shown(finding.evidence)}")
            console.print(f"  [dim]try {shown(finding.remedy)}[/]")
    absent = [finding.issue for finding in found.findings if finding.found is False]
    console.print(f"not found: {', '.join(absent)}")
    try:
        write_report(found, out, audio_roots=audio if audio.is_dir() else None)
    finally:
        report_evaluation(run.experiment, found, out)
    console.print(f"report  {shown(out / REPORT_FILE)}, figures in {METRICS_FILE} and {PER_LABEL_FILE} beside it")


@app.command()
def compare(
    store: Annotated[list[str], typer.Option("--store", help="Store to learn from; several times")],
    head: Annotated[list[str] | None, typer.Option("--head", help="Head by name; several times")] = None,
    cnn: Annotated[
        bool, typer.Option("--cnn", help="Also the CNN from scratch, on the features of scripts/prepare_data.py")
    ] = False,
    out: Annotated[Path, typer.Option(help="Folder of the tables and of all that was trained")] = Path(
        "models/compare"
    ),
    splits: SplitsOption = None,
    labels: LabelsOption = None,
    device: DeviceOption = None,
    data_root: DataRootOption = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
    tracking: TrackingOption = None,
    queue: QueueOption = None,
    project: ProjectOption = None,
    name: NameOption = None,
) -> None:
    """Train heads on several stores over one split, and judge all of them by the same held-out tracks."""
    chosen = settings(config, overrides, device=device, data_root=data_root)
    heads = list(dict.fromkeys(head or [chosen.head]))
    arguments = {"store": store, "head": heads, "cnn": cnn, "out": out, "splits": splits, "labels": labels}
    with tracked(
        compare, "comparison", chosen, arguments, name="compare", used=used_of(chosen, *heads),
        options=(tracking, queue, project, name),
    ) as run:  # fmt: skip
        _compare(run)


def _compare(run: Run) -> None:
    from eno.cnn.predictor import CNNCandidate
    from eno.cnn.settings import CNNSettings
    from eno.data.layout import DataRoot
    from eno.training.compare import Candidate, HeadCandidate, compare_candidates
    from eno.training.comparison import comparison_table, write_comparison
    from eno.training.reports import lineage, report_comparison

    chosen, given, out = run.settings, run.arguments, run.arguments["out"]
    collections = [
        collection_of(chosen, name, given["splits"], given["labels"]) for name in dict.fromkeys(given["store"])
    ]
    run.experiment.describe("data", {one.store.spec.label: lineage(one) for one in collections})
    plans = [plan_of(chosen, name) for name in dict.fromkeys(given["head"])]
    candidates: list[Candidate] = [
        HeadCandidate(one.store.spec.label, one, plan) for one in collections for plan in plans
    ]
    cnn = CNNCandidate(chosen.data_root, collections[0].labels, CNNSettings(), plans[0]) if given["cnn"] else None
    if cnn is not None:
        candidates.append(cnn)
    if len(candidates) < 2:
        raise ConfigError("There is nothing to compare: name several --store or --head, or add --cnn.")
    audio = DataRoot(chosen.data_root).audio
    with progress("comparing") as show:
        rows = compare_candidates(
            candidates,
            out,
            reference=cnn,
            audio_roots=audio if audio.is_dir() else None,
            device=chosen.device,
            on_progress=show,
        )
    console.print(comparison_table(rows))
    files = write_comparison(rows, out)
    report_comparison(run.experiment, rows, files)
    for path in files:
        console.print(f"table   {shown(path)}")
