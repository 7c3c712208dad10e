"""Search for the best options of a head: ``tune``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from eno.cli.commands import TRAINING, command
from eno.cli.options import (
    DeviceOption,
    FeedbackOption,
    JsonOption,
    LabelsOption,
    LibraryOptions,
    SplitsOption,
    StoresOption,
    WeightOption,
    prepare_output,
    print_json,
    read_corrections,
    shown,
)
from eno.cli.tracked import FORMER_TRACKING, Run, TrackingOptions, one_or_all, tracked, used_of
from eno.console import console, errors

app = typer.Typer()


@command(app, panel=TRAINING, former=FORMER_TRACKING)
def tune(
    where: LibraryOptions,
    tracking: TrackingOptions,
    store: StoresOption = None,
    head: Annotated[str, typer.Option(help="mlp or lightgbm")] = "mlp",
    minutes: Annotated[float, typer.Option(min=0.01, help="Start no new trial after this time")] = 10.0,
    trials: Annotated[int | None, typer.Option(min=1, help="Stop after this number of trials")] = None,
    out: Annotated[Path, typer.Option(help="Settings file for the best options")] = Path("models/tuned.toml"),
    splits: SplitsOption = None,
    labels: LabelsOption = None,
    device: DeviceOption = None,
    feedback: FeedbackOption = None,
    feedback_weight: WeightOption = None,
    as_json: JsonOption = False,
) -> None:
    """Search for better options of a head on held-out artists. Run it again to continue the search."""
    library = where.open(head=head, device=device)
    chosen = library.settings.head
    arguments = {"store": one_or_all(store or [library.store_place()]), "minutes": minutes, "trials": trials,
                 "out": out, "splits": splits, "labels": labels,
                 "feedback": feedback, "feedback_weight": feedback_weight}  # fmt: skip
    with tracked(
        tune, "tuning", library, arguments, tracking, name=f"tune {chosen}", used=used_of(library.settings, chosen)
    ) as run:
        _tune(run, as_json=as_json)


def _tune(run: Run, *, as_json: bool) -> None:
    from eno.files import replace_file
    from eno.training.tune import tune as search

    given, experiment, library = run.arguments, run.experiment, run.library
    collection = run.collection()

    def report(trials: int, best: float, last: float | None) -> None:
        outcome = "failed" if last is None else f"{last:.4f}"
        errors.print(f"trial {trials}: validation mAP {outcome}, best {best:.4f}")
        experiment.scalar("mAP", "best", best, trials)
        if last is not None:
            experiment.scalar("mAP", "trial", last, trials)

    plan, out = library.plan(), given["out"]
    prepare_output(out)
    found = search(
        collection,
        plan.head,
        plan.options,
        journal=out.with_suffix(".journal"),
        minutes=given["minutes"],
        trials=given["trials"],
        device=library.settings.device,
        on_trial=report,
        corrections=read_corrections(given["feedback"], given["feedback_weight"]),
    )
    with replace_file(out) as temporary:
        temporary.write_text(_as_toml(plan.head, found.options), encoding="utf-8")
    experiment.value("validation mAP", found.value)
    experiment.value("validation mAP of the defaults", found.default_value)
    experiment.describe("best options", found.options)
    experiment.artifact(out.name, out)
    if as_json:
        print_json({**asdict(found), "head": plan.head, "file": str(out)})
        return
    console.print(
        f"{found.trials} trials, {found.failed} failed, {found.resumed} from earlier runs; validation mAP "
        f"{found.default_value:.4f} → {found.value:.4f} (optimistic, because the options were chosen on it)"
    )
    console.print(f"options {shown(out)}\nTrain with them: eno train --tuned {shown(out)}")


def _as_toml(head: str, options: dict[str, Any]) -> str:
    lines = [f"{name} = {json.dumps(value)}" for name, value in options.items()]
    return "\n".join([f'head = "{head}"', "", f"[{head}]", *lines]) + "\n"
