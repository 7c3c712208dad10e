"""The CNN from scratch: the whole training, from prepared features to the best checkpoint."""

from __future__ import annotations

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
from eno.cnn.encoder import HISTORY, load_simple_cnn
from eno.cnn.feature_files import read_settings
from eno.cnn.features import frames_in
from eno.cnn.network import SimpleCNN
from eno.cnn.settings import CNNSettings as CNNSettings
from eno.cnn.settings import Epoch as Epoch
from eno.data.labels.encoder import LabelEncoder
from eno.data.layout import DataRoot
from eno.devices import resolve_device
from eno.encoders.checkpoints import sha256_of
from eno.errors import LabelError
from eno.files import replace_file, write_json
from eno.models.losses import MultiLabelLoss, positive_weights
from eno.models.ranking import average_precisions
from eno.training.trainer import predict, train_one_epoch, validate

logger = logging.getLogger(__name__)

MODEL, LABELS = "best_model.pt", "label_encoder.json"


@dataclass(frozen=True)
class CNNResult:
    """What a training gave.

    Attributes
    ----------
    model, label_encoder : Path
        The best checkpoint, as a state dict, and the vocabulary.
    settings : CNNSettings
        How it was trained.
    history : list of Epoch
        What happened.
    best_epoch : int
        Number of the epoch with the lowest validation loss, whose checkpoint it is.
    seconds : float
        What all of it took.
    """

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
    """Train a CNN from scratch and keep the checkpoint with the lowest validation loss.

    Written are ``best_model.pt`` (a state dict), ``label_encoder.json``, and ``history.json``, after every epoch and
    each whole or not at all: an interrupted training leaves the best checkpoint so far. What an earlier training left
    there goes at the start; one that was interrupted is not continued.

    Parameters
    ----------
    data_root : Path or str
        Folder of ``raw/`` and ``processed/``; ``scripts/prepare_data.py`` must have made the features.
    labels : LabelEncoder
        The vocabulary.
    folder : Path or str
        Receives the files.
    settings : CNNSettings, optional
        The defaults, if not given.
    on_epoch : callable, optional
        Called after every epoch with what happened.
    on_step : callable, optional
        Called after every step with how many are done and how many there are at most.

    Returns
    -------
    CNNResult

    Raises
    ------
    CatalogueError
        The splits or features are missing or damaged, or there are no labels.
    ConfigError
        There is no such device.
    TrainingError
        The loss is not a number any more.
    """
    began = time.monotonic()
    settings, folder = settings or CNNSettings(), Path(folder)
    if len(labels) == 0:
        raise LabelError("There is nothing to learn: the vocabulary has no labels. Make it with: eno labels")
    device = resolve_device(settings.device)
    folder.mkdir(parents=True, exist_ok=True)
    # The seed must not depend on what else draws random numbers, nor disturb it.
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(settings.seed)
        run = _Run(Path(data_root), labels, settings, device)
        _start_clean(folder)
        labels.save(folder / LABELS)
        history: list[Epoch] = []
        best = 0
        for number in range(1, settings.epochs + 1):
            history.append(run.epoch(number, on_step))
            if best == 0 or history[-1].val_loss < history[best - 1].val_loss:
                best = number
                _save_weights(folder / MODEL, run.model)
                run.described["weights_sha256"] = sha256_of([folder / MODEL])
            finished = number == settings.epochs or number - best >= settings.patience
            _write_history(folder / HISTORY, run.described | {"best_epoch": best, "finished": finished}, history)
            if on_epoch:
                on_epoch(history[-1])
            if finished:
                break
    seconds = time.monotonic() - began
    return CNNResult(folder / MODEL, folder / LABELS, settings, history, best, seconds)


def predict_split(
    result: CNNResult, data_root: Path | str, part: str, *, windows: int = 8
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Predict the tracks of a split from their features, as a predictor would from their files.

    Parameters
    ----------
    result : CNNResult
        The trained network.
    data_root : Path or str
        As in `train_cnn`.
    part : {"train", "val", "test"}
        Which tracks.
    windows : int
        Windows of each, spread evenly.

    Returns
    -------
    ids : list of str
        Tracks.
    probabilities : np.ndarray [shape=(n, num_labels), dtype=float32]
        The mean over the windows.
    truth : np.ndarray [shape=(n, num_labels), dtype=float32]
        Their labels, 0 or 1.

    Raises
    ------
    CatalogueError
        The split or the features are missing or damaged.
    ModelError
        The checkpoint is missing or damaged.
    """
    settings = result.settings
    dataset = EnoDataset(
        part, data_root, LabelEncoder.load(result.label_encoder), crop_frames=_crop_frames(settings, data_root),
        windows=windows,
    )  # fmt: skip
    device = resolve_device(settings.device)
    model = load_simple_cnn(result.model, n_mels=dataset.n_mels).to(device)
    loader = DataLoader(dataset, batch_size=max(1, settings.batch_size // windows), num_workers=settings.num_workers)
    return dataset.ids, predict(model, loader, device), (dataset.labels.toarray() > 0).astype(np.float32)


class _Run:
    """A network with what it learns from and is judged by."""

    def __init__(self, data_root: Path, labels: LabelEncoder, settings: CNNSettings, device: torch.device) -> None:
        self._settings, self._device = settings, device
        crop_frames = _crop_frames(settings, data_root)
        self._train = EnoDataset(
            "train", data_root, labels, crop_frames=crop_frames, augment=settings.augment(), seed=settings.seed
        )
        val = EnoDataset("val", data_root, labels, crop_frames=crop_frames, windows=settings.val_windows)
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
        positives = (self._train.labels > 0).sum(axis=0)
        self._loss_fn = MultiLabelLoss(
            settings.loss,
            gamma=settings.gamma,
            label_smoothing=settings.label_smoothing,
            positive_weights=positive_weights(settings.class_weights, positives, len(self._train)),
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
            multiprocessing_context="spawn" if workers else None,  # forking a process that has threads can hang
            pin_memory=self._device.type == "cuda",
            generator=torch.Generator(),  # of its own, since what it draws depends on the number of workers
            **options,
        )

    def epoch(self, number: int, on_step: Callable[[int, int], None] | None) -> Epoch:
        """Learn from the training tracks once, then look at the validation tracks."""
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
        logits: list[torch.Tensor] = []
        truth: list[torch.Tensor] = []

        def collect(some: torch.Tensor, labels: torch.Tensor) -> None:
            logits.append(some)
            truth.append(labels)

        val_loss = validate(self.model, self._val_loader, self._loss_fn, self._device, on_batch=collect)
        precisions = average_precisions(torch.cat(truth).numpy(), torch.cat(logits).numpy())
        val_map = float(np.nanmean(precisions)) if np.isfinite(precisions).any() else None
        rate = self._optimizer.param_groups[0]["lr"]
        return Epoch(number, train_loss, val_loss, val_map, time.monotonic() - began, rate)


def _crop_frames(settings: CNNSettings, data_root: Path | str) -> int:
    sample_rate = read_settings(DataRoot(Path(data_root)))["sample_rate"]
    return frames_in(round(settings.crop_s * sample_rate))


def _start_clean(folder: Path) -> None:
    """Remove what an earlier training left, so that files of two never lie beside each other."""
    history = folder / HISTORY
    if history.is_file():
        try:
            earlier = json.loads(history.read_text(encoding="utf-8"))
            if not earlier["finished"]:
                logger.warning(
                    "%s: holds a training that was interrupted after %d epochs; it starts anew",
                    folder,
                    len(earlier["epochs"]),
                )
        except (OSError, ValueError, KeyError, TypeError):
            logger.warning("%s: is damaged; the training starts anew", history)
    for name in (MODEL, HISTORY):
        (folder / name).unlink(missing_ok=True)


def _save_weights(path: Path, model: SimpleCNN) -> None:
    weights = {name: value.detach().cpu() for name, value in model.state_dict().items()}
    # Through an open file: given a path, PyTorch would write its name into the file, whose hash then tells trainings
    # apart that are the same.
    with replace_file(path) as temporary, temporary.open("wb") as file:
        torch.save(weights, file)


def _write_history(path: Path, described: dict[str, Any], history: list[Epoch]) -> None:
    write_json(path, described | {"epochs": [asdict(epoch) for epoch in history]})
