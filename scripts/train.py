"""Train the CNN from scratch on the features that ``scripts/prepare_data.py`` made.

A quick check with little data and few epochs::

    python scripts/train.py --epochs 2 --batch_size 4

It leaves ``best_model.pt``, ``label_encoder.json`` and ``history.json``. Stop it at any time: the best checkpoint so
far stays. With ``--folder`` that folder becomes a predictor like any other, with calibration and thresholds, which
``eno tag --model`` takes.

Where ClearML is configured the training is a task in the project eno/training. Its arguments are in the section Args: a
task that is cloned, edited and put into a queue is trained with what stands there. Either of these trains on a worker::

    python scripts/train.py --epochs 50 --queue default
    clearml-task --project eno/training --name full-train-v1 --script scripts/train.py --queue default --args epochs=50

clearml-task writes a call of its own into the copy that the worker runs, which reports machine and checkpoints besides;
with ``--skip-task-init`` it does not. It also sends what is not committed; ``--queue`` of this script does not.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any

from eno.cnn.predictor import save_cnn_predictor
from eno.cnn.settings import SCHEDULES
from eno.cnn.training import CNNSettings, Epoch, train_cnn
from eno.config import load_settings
from eno.console import errors, progress
from eno.data.labels.encoder import LabelEncoder
from eno.data.layout import DataRoot
from eno.devices import resolve_device
from eno.errors import EnoError
from eno.models.losses import CLASS_WEIGHTS, LOSSES
from eno.tracking.experiment import INTERRUPTED, Command, Experiment, Tracking, open_experiment
from eno.training.reports import cnn_epoch_reporter, report_predictor

HELP = {
    "epochs": "passes over the training tracks, at most",
    "batch_size": "crops a step",
    "learning_rate": "of Adam, at its highest",
    "schedule": "course of the learning rate",
    "patience": "epochs without a lower validation loss, after which it ends",
    "crop_s": "seconds of a random crop in training, and of a window in prediction",
    "val_windows": "windows of a validation track",
    "loss": "binary cross-entropy, or one in which easy decisions weigh less",
    "gamma": "focal loss: how much less",
    "label_smoothing": "0.1 makes 1 to 0.95 and 0 to 0.05",
    "class_weights": "what a label's positives weigh",
    "spec_augment": "mask bands and frames",
    "pitch_shift": "shift by at most so many semitones",
    "time_stretch": "stretch by at most this share: 0.1",
    "mixup": "mix crops in pairs by shares from Beta(mixup, mixup): 0.2",
    "num_workers": "processes that read features",
    "seed": "of weights, order, crops and augmentations",
    "device": "auto, cpu, cuda, cuda:1 …",
}
TRACKING = ("tracking", "queue", "project", "name")
CHOICES = {"loss": LOSSES, "class_weights": CLASS_WEIGHTS, "schedule": SCHEDULES}


def parser() -> argparse.ArgumentParser:
    """Describe the command line: a flag for each of `CNNSettings`, with its default."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--data_root", "--data-root", type=Path, default=argparse.SUPPRESS,
                        help="folder of raw/ and processed/ (default: eno.toml's)")  # fmt: skip
    parser.add_argument("--folder", type=Path, default=Path(), help="receives the checkpoint")
    parser.add_argument("--tracking", choices=("auto", "online", "offline", "off"), default=argparse.SUPPRESS,
                        help="with ClearML, as a session to import later, or not (default: auto)")  # fmt: skip
    parser.add_argument("--queue", default=argparse.SUPPRESS, help="ClearML queue whose worker trains instead")
    parser.add_argument("--project", default=argparse.SUPPRESS, help="ClearML project (default: eno/training)")
    parser.add_argument("--name", default=argparse.SUPPRESS, help="name of the ClearML task (default: train the CNN)")
    for field in dataclasses.fields(CNNSettings):
        if isinstance(field.default, bool):
            parser.add_argument(f"--{field.name}", action=argparse.BooleanOptionalAction, default=field.default,
                                help=HELP[field.name])  # fmt: skip
        else:
            parser.add_argument(f"--{field.name}", type=type(field.default), default=field.default,
                                choices=CHOICES.get(field.name), help=HELP[field.name])  # fmt: skip
    return parser


def report(epoch: Epoch) -> None:
    """Say what an epoch gave."""
    ranked = "" if epoch.val_map is None else f", val_mAP={epoch.val_map:.4f}"
    print(f"Epoch {epoch.number}: train_loss={epoch.train_loss:.4f}, val_loss={epoch.val_loss:.4f}{ranked}", flush=True)


def say(line: str) -> None:
    """Show a line about tracking, beside what the training prints."""
    errors.print(line, markup=False)


def track(options: dict[str, Any]) -> Experiment:
    """Begin to track the training."""
    of_file = load_settings().tracking
    tracking = Tracking(
        mode=options.get("tracking", of_file.mode),
        project=options.get("project", of_file.project),
        name=options.get("name"),
        queue=options.get("queue"),
        close_s=of_file.close_s,
    )
    return open_experiment(tracking, Command("training", "train the CNN", ("scripts/train.py",)), say=say)


def edited(chosen: dict[str, Any], experiment: Experiment) -> dict[str, Any]:
    """Show the arguments, and give them with what a task on a worker has instead."""
    changed = experiment.connect({"Args": chosen}).get("Args", {})
    if not changed:
        return chosen
    booleans = {field.name for field in dataclasses.fields(CNNSettings) if isinstance(field.default, bool)}
    words = []
    for name, text in changed.items():
        if name in booleans:
            words.append(f"--{name}" if text.lower() in ("1", "true", "yes") else f"--no-{name}")
        elif text:
            words.append(f"--{name}={text}")
    again = vars(parser().parse_args(words))
    return chosen | {name: again[name] for name in changed if name in again}


def train(chosen: dict[str, Any], experiment: Experiment) -> None:
    """Train, keep the predictor, and say where it is."""
    folder, data_root = Path(chosen.pop("folder")), Path(chosen.pop("data_root"))
    settings = CNNSettings(**chosen)
    print(f"Using device: {resolve_device(settings.device)}", flush=True)
    labels = LabelEncoder.load(DataRoot(data_root).label_encoder)
    tell = cnn_epoch_reporter(experiment)

    def both(epoch: Epoch) -> None:
        report(epoch)
        tell(epoch)

    with progress("training") as show:
        result = train_cnn(data_root, labels, folder, settings, on_epoch=both, on_step=show)
    experiment.artifact("best_model", result.model)
    experiment.artifact("label_encoder", result.label_encoder)
    if folder != Path():
        parts, record = save_cnn_predictor(result, data_root)
        experiment.describe("data", {"data_root": str(data_root), "split_hash": record.split_hash})
        report_predictor(experiment, parts, record, folder)
    best = result.history[result.best_epoch - 1]
    experiment.value("best epoch", best.number)
    experiment.value("best validation loss", best.val_loss)
    print(f"Best: epoch {best.number}, val_loss={best.val_loss:.4f}; {result.seconds:.0f} s")
    print(f'EnoPredictor("{result.model}", "{result.label_encoder}")')


def main() -> int:
    """Train, or let a worker do so."""
    chosen = vars(parser().parse_args())
    options = {name: chosen.pop(name) for name in TRACKING if name in chosen}
    options = {name: value for name, value in options.items() if value}  # clearml-task fills in empty ones
    experiment: Experiment | None = None
    problem: str | None = "ended by an error"
    try:
        chosen["data_root"] = chosen.get("data_root") or load_settings().data_root
        experiment = track(options)
        chosen = edited(chosen, experiment)
        if not experiment.queued:
            train(chosen, experiment)
        problem = None
    except EnoError as error:
        problem = str(error)
        errors.print(f"error: {error}", style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        problem = INTERRUPTED
        folder = Path(chosen.get("folder", "")).absolute()
        errors.print(f"stopped; the best checkpoint so far, if there is one, is in {folder}", markup=False)
        return 130
    finally:
        if experiment is not None:
            experiment.close(problem)
    return 0


if __name__ == "__main__":
    sys.exit(main())
