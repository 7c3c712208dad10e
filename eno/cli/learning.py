"""Vectors to heads: ``train``, ``retrain`` and ``tune``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eno.cli.options import (
    ConfigOption,
    DataRootOption,
    DeviceOption,
    LabelsOption,
    SetOption,
    SplitsOption,
    StoreOption,
    collection_of,
    plan_of,
    settings,
    shown,
)
from eno.cli.tracked import NameOption, ProjectOption, QueueOption, Run, TrackingOption, tracked, used_of
from eno.console import console, progress
from eno.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from eno.tracking.experiment import Experiment
    from eno.training.collection import Collection
    from eno.training.feedback import Corrections
    from eno.training.heads import TrainedHead
    from eno.training.record import HeadPlan, TrainingRecord

app = typer.Typer()

FeedbackOption = Annotated[
    Path | None, typer.Option("--feedback", help="Corrections that were made on the page of 'eno serve'")
]
_WEIGHT = typer.Option("--feedback-weight", help="What a corrected track weighs; the others weigh 1 (4)")
WeightOption = Annotated[float, _WEIGHT]


@app.command()
def train(
    store: StoreOption,
    head: Annotated[str | None, typer.Option(help="mlp, linear, lightgbm, knn or blend (default: mlp)")] = None,
    model: Annotated[Path, typer.Option(help="Folder that receives the predictor")] = Path("models/eno"),
    splits: SplitsOption = None,
    labels: LabelsOption = None,
    device: DeviceOption = None,
    feedback: FeedbackOption = None,
    feedback_weight: WeightOption = 4.0,
    data_root: DataRootOption = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
    tracking: TrackingOption = None,
    queue: QueueOption = None,
    project: ProjectOption = None,
    name: NameOption = None,
) -> None:
    """Learn tags from a store; choose, stop and calibrate by the validation part."""
    chosen = settings(config, overrides, head=head, device=device, data_root=data_root)
    arguments = {"store": store, "model": model, "splits": splits, "labels": labels,
                 "feedback": feedback, "feedback_weight": feedback_weight}  # fmt: skip
    with tracked(
        train, "training", chosen, arguments, name=f"train {chosen.head}", used=used_of(chosen, chosen.head),
        options=(tracking, queue, project, name),
    ) as run:  # fmt: skip
        chosen, given = run.settings, run.arguments
        collection = collection_of(chosen, given["store"], given["splits"], given["labels"])
        _train(
            collection, plan_of(chosen), chosen.device, given["model"], run.experiment,
            corrections=_corrections(given["feedback"], given["feedback_weight"]),
        )  # fmt: skip


@app.command()
def retrain(
    model: Annotated[Path, typer.Argument(help="Predictor that 'eno train' made")],
    store: Annotated[str | None, typer.Option(help="Other vectors (default: the store it was trained on)")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the new predictor (default: replaces the old one)")
    ] = None,
    splits: SplitsOption = None,
    labels: LabelsOption = None,
    device: DeviceOption = None,
    feedback: FeedbackOption = None,
    feedback_weight: Annotated[float | None, _WEIGHT] = None,
    data_root: DataRootOption = None,
    config: ConfigOption = None,
    overrides: SetOption = None,
    tracking: TrackingOption = None,
    queue: QueueOption = None,
    project: ProjectOption = None,
    name: NameOption = None,
) -> None:
    """Train again with the same settings, on today's labels, splits and vectors; say what has changed."""
    from eno.training.record import TrainingRecord

    chosen = settings(config, overrides, device=device, data_root=data_root)
    before = TrainingRecord.load(model)
    if before.head not in _heads():
        raise ConfigError(
            f"{model}: is not the work of 'eno train' but of {before.head!r}; train it as it was trained."
        )
    arguments = {"model": model, "store": store or before.store, "out": out or model,
                 "splits": splits or Path(before.splits), "labels": labels}  # fmt: skip
    said = before.feedback or {"file": None, "weight": 4.0}
    arguments["feedback"] = feedback or (said["file"] and Path(said["file"]))
    arguments["feedback_weight"] = feedback_weight or said["weight"]
    with tracked(
        retrain, "training", chosen, arguments, name=f"retrain {before.head}", used=(),
        options=(tracking, queue, project, name),
    ) as run:  # fmt: skip
        given, experiment = run.arguments, run.experiment
        experiment.describe("plan", asdict(before.plan))
        collection = collection_of(run.settings, given["store"], given["splits"], given["labels"])
        corrections = _corrections(given["feedback"], given["feedback_weight"])
        _retrain(collection, before, given["model"], given["out"], run.settings.device, experiment, corrections)


def _retrain(
    collection: Collection,
    before: TrainingRecord,
    model: Path,
    out: Path,
    device: str,
    experiment: Experiment,
    corrections: Corrections | None,
) -> None:
    import shutil
    import tempfile

    from eno.training.record import changes

    def save(trained: TrainedHead) -> None:
        out.parent.mkdir(parents=True, exist_ok=True)
        # Beside its place, so that the old predictor is whole until the new one is.
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as temporary:
            made = Path(temporary) / out.name
            trained.save(made)
            lines = changes(model, made)
            if out.exists():
                out.rename(Path(temporary) / "before")
            shutil.move(made, out)
        experiment.describe("changes", {"changed": lines})
        for line in lines:
            console.print(f"changed {shown(line)}")
        if not lines:
            console.print("changed nothing: labels, splits, vectors and settings are those of before")
        was, now = before.validation["map_macro"], trained.record.validation["map_macro"]
        if was is not None and now is not None:
            console.print(f"validation mAP {was:.3f} → {now:.3f}")

    _train(collection, before.plan, device, out, experiment, save=save, corrections=corrections)


@app.command()
def tune(
    store: StoreOption,
    head: Annotated[str | None, typer.Option(help="mlp or lightgbm (default: mlp)")] = None,
    minutes: Annotated[float, typer.Option(min=0.01, help="No trial begins after this time")] = 10.0,
    trials: Annotated[int | None, typer.Option(min=1, help="At most so many this time")] = None,
    out: Annotated[Path, typer.Option(help="File that receives the best settings")] = Path("models/tuned.toml"),
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
    """Look for better options of a head by the validation part; run it again to go on."""
    chosen = settings(config, overrides, head=head, device=device, data_root=data_root)
    arguments = {"store": store, "minutes": minutes, "trials": trials, "out": out, "splits": splits, "labels": labels}
    with tracked(
        tune, "tuning", chosen, arguments, name=f"tune {chosen.head}", used=used_of(chosen, chosen.head),
        options=(tracking, queue, project, name),
    ) as run:  # fmt: skip
        _tune(run)


def _tune(run: Run) -> None:
    from eno.files import replace_file
    from eno.training.reports import lineage
    from eno.training.tune import tune as search

    given, chosen, experiment = run.arguments, run.settings, run.experiment
    collection = collection_of(chosen, given["store"], given["splits"], given["labels"])
    experiment.describe("data", lineage(collection))

    def report(trials: int, best: float, last: float | None) -> None:
        outcome = "failed" if last is None else f"{last:.4f}"
        console.print(f"trial {trials}: validation mAP {outcome}, best {best:.4f}")
        experiment.scalar("mAP", "best", best, trials)
        if last is not None:
            experiment.scalar("mAP", "trial", last, trials)

    plan, out = plan_of(chosen), given["out"]
    found = search(
        collection,
        plan.head,
        plan.options,
        journal=out.with_suffix(".journal"),
        minutes=given["minutes"],
        trials=given["trials"],
        device=chosen.device,
        on_trial=report,
    )
    with replace_file(out) as temporary:
        temporary.write_text(_as_toml(plan.head, found.options), encoding="utf-8")
    experiment.value("validation mAP", found.value)
    experiment.value("validation mAP of the defaults", found.default_value)
    experiment.describe("best options", found.options)
    experiment.artifact(out.name, out)
    console.print(
        f"{found.trials} trials, {found.failed} failed, {found.resumed} of earlier times; validation mAP "
        f"{found.default_value:.4f} → {found.value:.4f}, a little too good, since by it the options were chosen"
    )
    console.print(f"settings {shown(out)}\nTrain with them: eno train --store {given['store']} --config {shown(out)}")


def _corrections(path: Path | None, weight: float) -> Corrections | None:
    from eno.training.feedback import Corrections

    return None if path is None else Corrections.read(path, weight=weight)


def _heads() -> list[str]:
    from eno.models import HEADS

    return list(HEADS)


def _train(
    collection: Collection,
    plan: HeadPlan,
    device: str,
    model: Path,
    experiment: Experiment,
    *,
    save: Callable[[TrainedHead], None] | None = None,
    corrections: Corrections | None = None,
) -> None:
    """Train, save and show a head."""
    from eno.training.heads import train_head
    from eno.training.reports import epoch_reporter, lineage, report_head

    experiment.describe("data", lineage(collection))
    console.print(f"tracks  {', '.join(f'{part} {count}' for part, count in collection.sizes().items())}")
    console.print(f"labels  {collection.labels.num_genres} genres, {collection.labels.num_descriptors} descriptors")
    with progress(f"training {plan.head}") as show:
        trained = train_head(
            collection, plan, device=device, checkpoint=model, on_progress=show, on_epoch=epoch_reporter(experiment),
            corrections=corrections,
        )  # fmt: skip
    if corrections is not None:
        console.print(
            f"feedback  {corrections.used} corrections of {corrections.tracks} training tracks, weight "
            f"{corrections.weight:g}; {corrections.unused} not used: of other tracks, or of words that are no labels"
        )
    if save is None:
        trained.save(model)
    else:
        save(trained)
    report_head(experiment, trained, model)
    _show(trained, model)


def _show(trained: TrainedHead, model: Path) -> None:
    """Show what the validation part says; the test part is for 'eno evaluate'."""
    from eno.summary import rules_table

    record = trained.record
    if record.validation["map_macro"] is not None:
        console.print(f"fitted  in {record.seconds:.1f} s, validation mAP {record.validation['map_macro']:.3f}")
    calibration = trained.parts.calibration
    if calibration is not None and calibration.estimates:
        console.print(rules_table(calibration))
    for label, reason in getattr(trained.head, "failures", {}).items():
        console.print(f"[red]failed[/]  {shown(trained.parts.labels.all_labels[label])}: {shown(reason)}")
    console.print(f"model   {shown(model)}\nHow good it is on held-out artists: eno evaluate {shown(model)}")


def _as_toml(head: str, options: dict[str, Any]) -> str:
    import json

    lines = [f"{name} = {json.dumps(value)}" for name, value in options.items()]
    return "\n".join([f'head = "{head}"', "", f"[{head}]", *lines]) + "\n"
