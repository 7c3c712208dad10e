"""Train the CNN from scratch on the features that ``scripts/prepare_data.py`` made.

A quick check with little data and few epochs::

    python scripts/train.py --epochs 2 --batch_size 4

It leaves ``best_model.pt``, ``label_encoder.json`` and ``history.json``. Stop it at any time: the best checkpoint so
far stays. With ``--folder`` that folder becomes a predictor like any other, with calibration and thresholds, which
``eno tag --model`` takes.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

from eno.config import load_settings
from eno.console import errors, progress
from eno.data.labels import LabelEncoder
from eno.data.layout import DataRoot
from eno.devices import resolve_device
from eno.errors import EnoError
from eno.models.losses import CLASS_WEIGHTS, LOSSES
from eno.training.cnn import CNNSettings, Epoch, train_cnn
from eno.training.cnn_predictor import save_cnn_predictor
from eno.training.cnn_settings import SCHEDULES

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
CHOICES = {"loss": LOSSES, "class_weights": CLASS_WEIGHTS, "schedule": SCHEDULES}


def parse() -> argparse.Namespace:
    """Read the command line: a flag for each of `CNNSettings`, with its default."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--data_root", "--data-root", type=Path, default=argparse.SUPPRESS,
                        help="folder of raw/ and processed/ (default: eno.toml's)")  # fmt: skip
    parser.add_argument("--folder", type=Path, default=Path(), help="receives the checkpoint")
    for field in dataclasses.fields(CNNSettings):
        if isinstance(field.default, bool):
            parser.add_argument(f"--{field.name}", action=argparse.BooleanOptionalAction, default=field.default,
                                help=HELP[field.name])  # fmt: skip
        else:
            parser.add_argument(f"--{field.name}", type=type(field.default), default=field.default,
                                choices=CHOICES.get(field.name), help=HELP[field.name])  # fmt: skip
    return parser.parse_args()


def report(epoch: Epoch) -> None:
    """Say what an epoch gave. This is the place to send its figures to an experiment tracker as well."""
    ranked = "" if epoch.val_map is None else f", val_mAP={epoch.val_map:.4f}"
    print(f"Epoch {epoch.number}: train_loss={epoch.train_loss:.4f}, val_loss={epoch.val_loss:.4f}{ranked}", flush=True)


def main() -> int:
    """Train, and say where the model is."""
    chosen = vars(parse())
    folder: Path = chosen.pop("folder")
    data_root: Path | None = chosen.pop("data_root", None)
    try:
        data_root = data_root or load_settings().data_root
        settings = CNNSettings(**chosen)
        print(f"Using device: {resolve_device(settings.device)}", flush=True)
        labels = LabelEncoder.load(DataRoot(data_root).label_encoder)
        with progress("training") as show:
            result = train_cnn(data_root, labels, folder, settings, on_epoch=report, on_step=show)
        if folder != Path():
            save_cnn_predictor(result, data_root)
    except EnoError as error:
        errors.print(f"error: {error}", style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        errors.print(f"stopped; the best checkpoint so far, if there is one, is in {folder.absolute()}", markup=False)
        return 130
    best = result.history[result.best_epoch - 1]
    print(f"Best: epoch {best.number}, val_loss={best.val_loss:.4f}; {result.seconds:.0f} s")
    print(f'EnoPredictor("{result.model}", "{result.label_encoder}")')
    return 0


if __name__ == "__main__":
    sys.exit(main())
