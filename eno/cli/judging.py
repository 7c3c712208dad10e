"""How good heads are: ``evaluate`` and ``compare``."""

from __future__ import annotations

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
from eno.console import console, progress
from eno.errors import ConfigError

if TYPE_CHECKING:
    from eno.data.layout import DataRoot
    from eno.training.tracks import Collection

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
) -> None:
    """Judge a predictor by tracks that it has not seen: figures, each label, and a page to read."""
    from eno.data.layout import DataRoot
    from eno.evaluation.report import METRICS_FILE, PER_LABEL_FILE, REPORT_FILE, metrics_table, write_report
    from eno.inference.saved import LABELS
    from eno.training.cnn_predictor import CNN
    from eno.training.judging import evaluate_predictor
    from eno.training.record import EVALUATION, TrainingRecord

    chosen = settings(config, overrides, device=device, data_root=data_root)
    record = TrainingRecord.load(model)
    if record.head == CNN:
        source: Collection | DataRoot = DataRoot(chosen.data_root)
    else:
        source = collection_of(chosen, store or record.store, splits or Path(record.splits), model / LABELS)
    found = evaluate_predictor(model, source, part=part.value, resamples=resamples, device=chosen.device)
    out = out or model / EVALUATION
    audio = audio_root or DataRoot(chosen.data_root).audio
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
    write_report(found, out, audio_root=audio if audio.is_dir() else None)
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
) -> None:
    """Train heads on several stores over one split, and judge all of them by the same held-out tracks."""
    from eno.data.layout import DataRoot
    from eno.training.cnn_settings import CNNSettings
    from eno.training.compare import Candidate, CNNCandidate, compare_candidates
    from eno.training.comparison import comparison_table, write_comparison

    chosen = settings(config, overrides, device=device, data_root=data_root)
    collections = [collection_of(chosen, name, splits, labels) for name in dict.fromkeys(store)]
    plans = [plan_of(chosen, name) for name in dict.fromkeys(head or [chosen.head])]
    candidates = [Candidate(one.store.spec.label, one, plan) for one in collections for plan in plans]
    if len(candidates) + cnn < 2:
        raise ConfigError("There is nothing to compare: name several --store or --head, or add --cnn.")
    audio = DataRoot(chosen.data_root).audio
    from_scratch = CNNCandidate(chosen.data_root, CNNSettings(device=chosen.device), plans[0]) if cnn else None
    with progress("comparing") as show:
        rows = compare_candidates(
            candidates,
            out,
            cnn=from_scratch,
            audio_root=audio if audio.is_dir() else None,
            device=chosen.device,
            on_progress=show,
        )
    console.print(comparison_table(rows))
    for path in write_comparison(rows, out):
        console.print(f"table   {shown(path)}")
