"""Train the CNN baseline on the features computed by ``scripts/prepare_data.py``.

A quick check with little data and few epochs::

    python scripts/train.py --epochs 2 --batch_size 4

Writes ``best_model.pt``, ``label_encoder.json`` and ``history.json``. The training can be stopped at any time; the best
checkpoint so far is kept. With ``--folder`` the results become a predictor with calibration and thresholds, for
``eno tag --model``.

If ClearML is configured, the training is a task in the project eno/training, with its arguments in the section Args.
When that task is cloned, edited and enqueued, the edited arguments are used. Both of these train on a worker::

    python scripts/train.py --epochs 50 --clearml-queue default
    clearml-task --project eno/training --name full-train-v1 --script scripts/train.py --queue default --args epochs=50

Unlike ``--clearml-queue``, clearml-task also sends uncommitted changes, and inserts a call into the worker's copy of
the script that reports the machine's load (``--skip-task-init`` prevents that).
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from eno.cli.commands import present_spelling
from eno.cli.tracked import FORMER_TRACKING, TrackingOptions, opened
from eno.cnn.predictor import save_cnn_predictor
from eno.cnn.settings import CNNSettings, describe_options
from eno.cnn.training import train_cnn
from eno.config import load_settings
from eno.console import errors, progress
from eno.data.labels.encoder import LabelEncoder
from eno.data.layout import DataRoot
from eno.devices import resolve_device
from eno.errors import EnoError
from eno.models.epochs import Epoch
from eno.tracking.experiment import Command, Experiment
from eno.training.tracker_reports import epoch_reporter, report_predictor

COMMAND = Command("training", "train the CNN", ("scripts/train.py",))


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line, with an option for each of `CNNSettings`."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--data_root", "--data-root", type=Path, default=argparse.SUPPRESS,
                        help="folder of raw/ and processed/ (default: from eno.toml)")  # fmt: skip
    parser.add_argument("--folder", type=Path, default=Path(), help="folder for the results")
    parser.add_argument("--tracking", choices=("auto", "online", "offline", "off"), default=argparse.SUPPRESS,
                        help="track with ClearML, in an offline session, or not (default: auto)")  # fmt: skip
    parser.add_argument("--clearml-queue", default=argparse.SUPPRESS, help="ClearML queue whose worker trains instead")
    parser.add_argument("--clearml-project", default=argparse.SUPPRESS,
                        help="ClearML project (default: eno/training)")  # fmt: skip
    parser.add_argument("--clearml-name", default=argparse.SUPPRESS,
                        help="ClearML task name (default: train the CNN)")  # fmt: skip
    for name, option in describe_options().items():
        words = {"help": option["help"], "default": option["default"]}
        if option["type"] is bool:
            parser.add_argument(f"--{name}", action=argparse.BooleanOptionalAction, **words)
        else:
            parser.add_argument(f"--{name}", type=option["type"], choices=option["choices"], **words)
    return parser


def print_epoch(epoch: Epoch) -> None:
    """Print the results of an epoch."""
    val_map = "" if epoch.val_map is None else f", val_mAP={epoch.val_map:.4f}"
    losses = f"train_loss={epoch.train_loss:.4f}, val_loss={epoch.val_loss:.4f}"
    print(f"Epoch {epoch.number}: {losses}{val_map}", flush=True)


def edited(chosen: dict[str, Any], experiment: Experiment) -> dict[str, Any]:
    """Record the arguments, and return them with the changes that were made in ClearML."""
    changed = experiment.connect({"Args": chosen}).get("Args", {})
    if not changed:
        return chosen
    options, words = describe_options(), []
    for name, text in changed.items():
        if name in options and options[name]["type"] is bool:
            words.append(f"--{name}" if text.lower() in ("1", "true", "yes") else f"--no-{name}")
        elif text:
            words.append(f"--{name}={text}")
    again = vars(parser().parse_args(words))
    return chosen | {name: again[name] for name in changed if name in again}


def train(chosen: dict[str, Any], experiment: Experiment) -> None:
    """Train, save and report the CNN."""
    folder, data_root = Path(chosen.pop("folder")), Path(chosen.pop("data_root"))
    settings = CNNSettings(**chosen)
    print(f"Using device: {resolve_device(settings.device)}", flush=True)
    labels = LabelEncoder.load(DataRoot(data_root).label_encoder)
    report = epoch_reporter(experiment)

    def on_epoch(epoch: Epoch) -> None:
        print_epoch(epoch)
        if report is not None:
            report(epoch)

    with progress("training") as show:
        result = train_cnn(data_root, labels, folder, settings, on_epoch=on_epoch, on_step=show)
    experiment.artifact("best_model", result.model)
    experiment.artifact("label_encoder", result.label_encoder)
    if folder != Path():
        trained = save_cnn_predictor(result, data_root)
        experiment.describe("data", {"data_root": str(data_root), "split_hash": trained.record.split_hash})
        report_predictor(experiment, trained, folder)
    best = result.history[result.best_epoch - 1]
    experiment.value("best epoch", best.number)
    experiment.value("best validation loss", best.val_loss)
    print(f"Best: epoch {best.number}, val_loss={best.val_loss:.4f}; {result.seconds:.0f} s")
    if folder == Path():
        print(f'EnoPredictor("{result.model}", "{result.label_encoder}")')
    else:  # with calibration and thresholds
        print(f'EnoPredictor.load("{folder}")')


def main() -> int:
    """Train here, or enqueue the training for a worker."""
    words = [present_spelling(word, FORMER_TRACKING) for word in sys.argv[1:]]
    chosen = vars(parser().parse_args(words))
    names = [one.name for one in fields(TrackingOptions)]
    tracking = TrackingOptions(**{name: chosen.pop(name, None) or None for name in names})  # "" from clearml-task
    try:
        settings = load_settings()
        chosen["data_root"] = chosen.get("data_root") or settings.data_root
        with opened(tracking, settings.tracking, COMMAND) as experiment:
            chosen = edited(chosen, experiment)
            if not experiment.queued:
                train(chosen, experiment)
    except EnoError as error:
        errors.print(f"error: {error}", style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        folder = Path(chosen.get("folder", "")).absolute()
        errors.print(f"stopped; the best checkpoint so far, if any, is in {folder}", markup=False)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
