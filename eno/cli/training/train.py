"""Train predictors: ``train``, ``retrain``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eno.cli.catalogue import prepare
from eno.cli.commands import TRAINING, command
from eno.cli.options import (
    DeviceOption,
    FeedbackOption,
    JsonOption,
    LabelsOption,
    LibraryOptions,
    ModelOption,
    SplitsOption,
    StoresOption,
    WeightOption,
    print_failure,
    print_json,
    read_corrections,
    shown,
    warn,
)
from eno.cli.tracked import FORMER_TRACKING, Run, TrackingOptions, one_or_all, tracked, used_of
from eno.config import load_settings
from eno.console import console, progress
from eno.errors import ConfigError, EnoError

if TYPE_CHECKING:
    from collections.abc import Callable

    from eno.library import Library
    from eno.training.before_after import BeforeAfter
    from eno.training.collection import Collection
    from eno.training.feedback import Corrections
    from eno.training.heads import TrainedPredictor
    from eno.training.record import HeadPlan, TrainingRecord

app = typer.Typer()

HeadOption = Annotated[
    str | None, typer.Option("--head", help="auto, linear, mlp, kernel, forest, lightgbm, knn or blend (default: auto)")
]
ValidationOption = Annotated[
    str | None,
    typer.Option(
        "--validation",
        help="folds: learn from all tracks that are not in the test split, and validate on folds of them; fixed: learn "
        "from the training split only, and validate on the validation split (default: folds)",
    ),
]


@command(app, panel=TRAINING, former=FORMER_TRACKING)
def train(
    where: LibraryOptions,
    tracking: TrackingOptions,
    store: StoresOption = None,
    model: ModelOption = None,
    head: HeadOption = None,
    validation: ValidationOption = None,
    tuned: Annotated[
        Path | None, typer.Option(help="Options found by 'eno tune'; they take precedence over the settings file")
    ] = None,
    splits: SplitsOption = None,
    labels: LabelsOption = None,
    device: DeviceOption = None,
    feedback: FeedbackOption = None,
    feedback_weight: WeightOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a tagger on an embedding store, or on several whose vectors are joined.

    It learns from all tracks that are not in the test split; options are chosen, and probabilities calibrated, on
    artists that were held out in turn. The test split is not touched.
    Scan, match, labels and split are run first if they were not run yet.
    """
    named = {"model": model, "device": device, "validation": validation, **_tuned(tuned)}
    library = where.open(**(named | {"head": head} if head else named))
    if splits is None and labels is None:
        prepare(library)
    arguments = {"store": one_or_all(store or [library.store_place()]), "model": library.settings.model,
                 "splits": splits, "labels": labels, "feedback": feedback,
                 "feedback_weight": feedback_weight}  # fmt: skip
    chosen = library.settings.head
    with tracked(
        train, "training", library, arguments, tracking, name=f"train {chosen}", used=used_of(library.settings, chosen)
    ) as run:
        given = run.arguments
        _train(
            run, run.collection(), run.library.plan(), given["model"],
            corrections=read_corrections(given["feedback"], given["feedback_weight"]), as_json=as_json,
        )  # fmt: skip


@command(app, panel=TRAINING, former=FORMER_TRACKING, former_argument="--model")
def retrain(
    where: LibraryOptions,
    tracking: TrackingOptions,
    model: ModelOption = None,
    store: StoresOption = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the new predictor (default: the old one's)")] = None,
    splits: SplitsOption = None,
    labels: LabelsOption = None,
    device: DeviceOption = None,
    feedback: FeedbackOption = None,
    feedback_weight: WeightOption = None,
    as_json: JsonOption = False,
) -> None:
    """Refit a predictor with the same settings on the current labels, splits and vectors, and show what changed."""
    from eno.models import HEADS
    from eno.training.record import TrainingRecord
    from eno.training.tracker_reports import training_tag

    library = where.open(model=model, device=device)
    place = library.settings.model
    before = TrainingRecord.load(place)
    if before.head not in HEADS:
        raise ConfigError(f"{place}: was trained by {before.head!r}, not by 'eno train'. Repeat that training instead.")
    feedback_before = before.feedback or {"file": None, "weight": None}
    if feedback_weight is None:
        feedback_weight = feedback_before["weight"]
    arguments = {"model": place, "store": store or before.store, "out": out or place,
                 "splits": splits or Path(before.splits), "labels": labels,
                 "feedback": feedback or (feedback_before["file"] and Path(feedback_before["file"])),
                 "feedback_weight": feedback_weight}  # fmt: skip
    with tracked(retrain, "training", library, arguments, tracking, name=f"retrain {before.head}") as run:
        given = run.arguments
        run.experiment.input_model(training_tag(given["model"]))
        run.experiment.describe("plan", asdict(before.plan))
        corrections = read_corrections(given["feedback"], given["feedback_weight"])
        _retrain(run, run.collection(), before, corrections, as_json=as_json)


def _retrain(
    run: Run, collection: Collection, before: TrainingRecord, corrections: Corrections | None, *, as_json: bool
) -> None:
    import shutil
    import tempfile

    from eno.inference.predictor_folder import copy_taught
    from eno.training.record import ON_OTHER_ROWS, changes

    model, out = run.arguments["model"], run.arguments["out"]

    def save(trained: TrainedPredictor) -> dict[str, Any]:
        out.parent.mkdir(parents=True, exist_ok=True)
        # Beside its destination, so that the old predictor stays intact until the new one is complete.
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as temporary:
            made = Path(temporary) / out.name
            trained.save(made)
            copy_taught(model, made)
            lines = list(changes(model, made))
            compared = _compared(model, made, collection, run.library.settings.device)
            if out.exists():
                out.rename(Path(temporary) / "before")
            shutil.move(made, out)
        if isinstance(compared, EnoError):
            test, comparison = f"test mAP not compared: {compared}", {"error": str(compared)}
        else:
            test, comparison = str(compared), asdict(compared)
        run.experiment.describe("changes", {"changed": lines, "test": test})
        if as_json:
            return {"changed": lines, "comparison": comparison}
        for line in lines:
            console.print(f"changed {shown(line)}")
        if not lines:
            console.print("changed nothing: labels, splits, vectors and settings are the same as before")
        was, now = before.validation["map_macro"], trained.record.validation["map_macro"]
        if was is not None and now is not None:
            same = not any(line.startswith(ON_OTHER_ROWS) for line in lines)
            console.print(f"validation mAP {was:.3f} → {now:.3f}" + ("" if same else " (of other tracks or labels)"))
        console.print(test)
        return {}

    _train(run, collection, before.plan, out, save=save, corrections=corrections, as_json=as_json)


def _compared(before: Path, after: Path, collection: Collection, device: str) -> BeforeAfter | EnoError:
    """Compare two predictors on the same test tracks, or return the error that makes it impossible."""
    from eno.training.before_after import compare_before_after

    try:
        return compare_before_after(before, after, collection, device=device)
    except EnoError as error:
        return error


def _tuned(path: Path | None) -> dict[str, Any]:
    """Read the options that 'eno tune' wrote."""
    if path is None:
        return {}
    found = load_settings(path)
    return {"head": found.head, "options": found.options}


def _train(
    run: Run,
    collection: Collection,
    plan: HeadPlan,
    model: Path,
    *,
    save: Callable[[TrainedPredictor], dict[str, Any]] | None = None,
    corrections: Corrections | None = None,
    as_json: bool,
) -> None:
    """Train, save and report a head; by default it is saved to `model`. What `save` returns is added to the JSON."""
    from eno.training.heads import train_head
    from eno.training.tracker_reports import epoch_reporter, report_predictor

    experiment, library = run.experiment, run.library
    if not as_json:
        console.print(f"tracks  {', '.join(f'{split} {count}' for split, count in collection.sizes().items())}")
        console.print(f"labels  {shown(collection.labels.describe())}")
        unknown = {name: count for name, count in collection.unlabelled().items() if count}
        if unknown:
            counts = ", ".join(f"{count} tracks without {name}" for name, count in unknown.items())
            console.print(f"unknown {counts}; these do not count for them, in training or evaluation")
    with progress(f"training {plan.head}") as show:
        trained = train_head(
            collection, plan, device=library.settings.device, checkpoint=model, on_progress=show,
            on_epoch=epoch_reporter(experiment), corrections=corrections,
        )  # fmt: skip
    used = trained.record.feedback
    if corrections is not None and used is not None and not as_json:
        unused = len(corrections.feedback.latest()) - used["corrections"]
        console.print(
            f"feedback  {used['corrections']} corrections of {used['tracks']} training tracks, weight "
            f"{used['weight']:g}; {unused} were not used because their track is in the test split or their "
            "tag is not in the vocabulary"
        )
    further: dict[str, Any] = {}
    if save is None:
        trained.save(model)
    else:
        further = save(trained)
    report_predictor(experiment, trained, model)
    if as_json:
        print_json({**asdict(trained.record), "model": str(model), "failures": _failures(trained), **further})
    else:
        _show(trained, model, library)
    _show_taught(model, as_json=as_json)


def _show_taught(model: Path, *, as_json: bool) -> None:
    """Say what became of the tags that were taught to the predictor that was in the folder."""
    from eno.inference.predictor_folder import taught_before

    kept, left_out = taught_before(model)
    if kept and not as_json:
        console.print(f"taught  {shown(', '.join(kept))} (kept)")
    if left_out:
        warn(
            f"{model}: the tags {', '.join(left_out)} were taught on vectors of another encoder, and this predictor "
            "does not have them. Teach them again with 'eno teach', or train on that encoder's store."
        )


def _failures(trained: TrainedPredictor) -> dict[str, str]:
    """Return the labels whose training failed, and why."""
    names = trained.parts.labels.all_labels
    return {names[label]: reason for label, reason in getattr(trained.parts.head, "failures", {}).items()}


def _show(trained: TrainedPredictor, model: Path, library: Library) -> None:
    """Show the metrics on held-out tracks; 'eno evaluate' computes those of the test split."""
    from eno.summary import rules_table

    record = trained.record
    if record.validation["map_macro"] is not None:
        console.print(f"fitted  in {record.seconds:.1f} s, validation mAP {record.validation['map_macro']:.3f}")
    _show_tried(record.validation)
    calibration = trained.parts.calibration
    if calibration is not None and calibration.estimates:
        console.print(rules_table(calibration))
    for label, reason in _failures(trained).items():
        print_failure(label, reason)
    current = "" if model == library.settings.model else f" --model {shown(model)}"
    console.print(f"model   {shown(model)}\nEvaluate it on held-out artists: eno evaluate{current}")


def _show_tried(validation: dict[str, Any]) -> None:
    """Show the heads of a blend."""
    if "heads" in validation:
        found = ", ".join(f"{shown(name)} {score:.3f}" for name, score in validation["heads"].items())
        console.print(f"heads   {found} (mAP on held-out tracks)")
    for name, seconds in validation.get("given_up", {}).items():
        needed = "" if seconds is None else f" for the {seconds:.0f} s that it takes"
        console.print(f"        {shown(name)} was left out: not enough of auto.budget remained{needed}")
