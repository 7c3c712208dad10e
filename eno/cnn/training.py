"""Train the CNN baseline: from prepared features to the best checkpoint."""

from __future__ import annotations

import io
import json
import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, RandomSampler

from eno.cnn.dataset import EnoDataset
from eno.cnn.encoder import HISTORY
from eno.cnn.feature_files import read_settings
from eno.cnn.features import frames_in
from eno.cnn.network import SimpleCNN
from eno.cnn.settings import CNNSettings
from eno.data.labels.encoder import LabelEncoder
from eno.data.labels.values import present
from eno.data.layout import DataRoot
from eno.devices import resolve_device
from eno.encoders.checkpoints import sha256_of
from eno.errors import LabelError
from eno.files import replace_file, write_json
from eno.models.average_precision import macro_map
from eno.models.epochs import EarlyStopping, Epoch
from eno.models.losses import MultiLabelLoss, positive_weights
from eno.training.trainer import train_one_epoch, validate

logger = logging.getLogger(__name__)

MODEL, LABELS = "best_model.pt", "label_encoder.json"


@dataclass(frozen=True)
class CNNResult:
    """A trained CNN: `model` is the checkpoint of `best_epoch` (from 1), the one with the lowest validation loss."""

    model: Path
    label_encoder: Path
    settings: CNNSettings
    history: list[Epoch]
    best_epoch: int
    seconds: float


def train_cnn(
    data_root: Path | str,
    labels: LabelEncoder,
    folder: Path | str,
    settings: CNNSettings | None = None,
    *,
    on_epoch: Callable[[Epoch], None] | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> CNNResult:
    """Train a CNN and keep the checkpoint with the lowest validation loss.

    Writes ``best_model.pt`` (a state dict), ``label_encoder.json`` and ``history.json``. They are updated atomically
    after every epoch, so an interrupted training leaves its best checkpoint; it cannot be resumed. Files of an earlier
    training are replaced.

    Parameters
    ----------
    data_root : Path or str
        Folder of ``raw/`` and ``processed/``, with features computed by ``scripts/prepare_data.py``.
    on_step : callable, optional
        Called after every step with the number of steps done and the maximum number.
    """
    began = time.monotonic()
    settings, folder = settings or CNNSettings(), Path(folder)
    if len(labels) == 0:
        raise LabelError("The vocabulary has no labels, so there is nothing to train on. Build it with: eno labels")
    device = resolve_device(settings.device)
    folder.mkdir(parents=True, exist_ok=True)
    # Results depend only on the seed, and training does not change the global random state.
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(settings.seed)
        run = _Training(Path(data_root), labels, settings, device)
        _remove_earlier(folder)
        labels.save(folder / LABELS)
        history: list[Epoch] = []
        stopping, finished = EarlyStopping(settings.patience), False
        while not finished:
            epoch = run.epoch(len(history) + 1, on_step)
            history.append(epoch)
            if stopping.improved(epoch.number, None if epoch.val_loss is None else -epoch.val_loss):
                _save_weights(folder / MODEL, run.model)
                run.described["weights_sha256"] = sha256_of([folder / MODEL])
            finished = epoch.number == settings.epochs or stopping.stops(epoch.number)
            status = {"best_epoch": stopping.best, "finished": finished, "epochs": [asdict(one) for one in history]}
            write_json(folder / HISTORY, run.described | status)
            if on_epoch:
                on_epoch(epoch)
    seconds = time.monotonic() - began
    return CNNResult(folder / MODEL, folder / LABELS, settings, history, stopping.best, seconds)


class _Training:
    """A network with its data, optimiser and loss."""

    def __init__(self, data_root: Path, labels: LabelEncoder, settings: CNNSettings, device: torch.device) -> None:
        self._settings, self._device = settings, device
        crop_frames = frames_in(round(settings.crop_s * read_settings(DataRoot(data_root))["sample_rate"]))
        self._train = EnoDataset(
            "train", data_root, labels, crop_frames=crop_frames, augment=settings.augment(), seed=settings.seed,
            mark_unknown=True,
        )  # fmt: skip
        val = EnoDataset(
            "val", data_root, labels, crop_frames=crop_frames, windows=settings.val_windows, mark_unknown=True
        )
        order = torch.Generator().manual_seed(settings.seed)
        self._train_loader = self._loader(
            self._train, settings.batch_size, sampler=RandomSampler(self._train, generator=order)
        )
        self._val_loader = self._loader(val, max(1, settings.batch_size // settings.val_windows))
        self.model = SimpleCNN(self._train.n_mels, len(labels)).to(device)
        self._optimizer = torch.optim.Adam(self.model.parameters(), lr=settings.learning_rate)
        self._steps = settings.epochs * len(self._train_loader)
        self._scheduler = None
        if settings.schedule == "one_cycle":
            self._scheduler = torch.optim.lr_scheduler.OneCycleLR(
                self._optimizer, settings.learning_rate, total_steps=self._steps
            )
        positives, counts = present(self._train.labels).sum(axis=0), self._train.weights.counts()
        self._loss_fn = MultiLabelLoss(
            settings.loss,
            **settings.loss_options,
            label_smoothing=settings.label_smoothing,
            positive_weights=positive_weights(settings.class_weights, positives, counts),
        ).to(device)
        self._rng = np.random.default_rng([settings.seed, 1])
        self.described: dict[str, Any] = {
            "settings": asdict(settings),
            "features": {"sample_rate": self._train.sample_rate, "n_mels": self._train.n_mels},
            "tracks": {"train": len(self._train), "val": len(val)},
            "skipped": self._train.skipped + val.skipped,
        }

    def _loader(self, dataset: EnoDataset, batch_size: int, **options: Any) -> DataLoader[Any]:
        workers = self._settings.num_workers
        return DataLoader(
            dataset,
            batch_size=batch_size,
            num_workers=workers,
            persistent_workers=workers > 0,
            multiprocessing_context="spawn" if workers else None,  # forking a process with threads can hang
            pin_memory=self._device.type == "cuda",
            generator=torch.Generator(),  # separate, because its draws depend on the number of workers
            **options,
        )

    def epoch(self, number: int, on_step: Callable[[int, int], None] | None) -> Epoch:
        """Train for one epoch, then evaluate on the validation split."""
        began = time.monotonic()
        self._train.set_epoch(number)
        before = (number - 1) * len(self._train_loader)
        train_loss = train_one_epoch(
            self.model,
            self._train_loader,
            self._optimizer,
            self._loss_fn,
            self._device,
            mixup=self._settings.mixup,
            rng=self._rng,
            scheduler=self._scheduler,
            on_step=None if on_step is None else lambda step: on_step(before + step, self._steps),
        )
        batches: list[tuple[torch.Tensor, torch.Tensor]] = []
        val_loss = validate(
            self.model, self._val_loader, self._loss_fn, self._device, on_batch=lambda *batch: batches.append(batch)
        )
        logits, truth = (torch.cat(tensors).numpy() for tensors in zip(*batches, strict=True))
        return Epoch(
            number=number,
            train_loss=train_loss,
            val_loss=val_loss,
            val_map=macro_map(truth, logits, ~np.isnan(truth)),
            learning_rate=self._optimizer.param_groups[0]["lr"],
            seconds=time.monotonic() - began,
        )


def _remove_earlier(folder: Path) -> None:
    history = folder / HISTORY
    if history.is_file():
        try:
            earlier = json.loads(history.read_text(encoding="utf-8"))
            if not earlier["finished"]:
                epochs = len(earlier["epochs"])
                logger.warning("%s: has a training that was interrupted after %d epochs; starting over", folder, epochs)
        except (OSError, ValueError, KeyError, TypeError):
            logger.warning("%s: is damaged; starting over", history)
    for name in (MODEL, HISTORY):
        (folder / name).unlink(missing_ok=True)


def _save_weights(path: Path, model: SimpleCNN) -> None:
    weights = {name: value.detach().cpu() for name, value in model.state_dict().items()}
    # Given a path, PyTorch writes its name into the file, and equal trainings would have different hashes. Given an
    # open file, ClearML's SDK registers each temporary file as a model if clearml-task started the script.
    content = io.BytesIO()
    torch.save(weights, content)
    with replace_file(path) as temporary:
        temporary.write_bytes(content.getbuffer())
