"""A multi-layer perceptron: the head to start with."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from scipy.special import logit

from eno.devices import resolve_device
from eno.errors import ModelError, NotFitted, TrainingError
from eno.files import replace_file, write_json
from eno.models.bags import Bags
from eno.models.base import Options, Training, check_shape, chunks, take, training_and_validation
from eno.models.epochs import EarlyStopping, Epoch, mixup
from eno.models.heads import HEAD_FILE
from eno.models.losses import MultiLabelLoss, positive_weights
from eno.models.perceptron import POOLINGS, Perceptron
from eno.models.ranking import macro_map
from eno.models.types import Labels, Vectors

_WEIGHTS = "head.safetensors"
_JUDGED = 10_000  # validation rows that decide when to stop: more would change the mean little and take longer
_ROWS_SEEN = 4_500_000  # in all epochs together: fifteen over 300,000 tracks
_EPOCHS = (15, 200)
_BATCH = (64, 1024)


class MLPHead(Options):
    """Perceptron over standardised vectors.

    Parameters
    ----------
    hidden : tuple of int
        Widths of the hidden layers; ``()`` makes it a logistic regression.
    dropout : float
        Share of hidden values that are dropped while training.
    learning_rate, weight_decay : float
        Of AdamW. The rate rises over the first steps, then falls to 0 along a cosine.
    warm_up : float
        Share of all steps in which the rate rises.
    batch_size : int, optional
        Rows per step; without it a hundredth of the training rows, but 64 to 1024.
    max_epochs : int, optional
        Passes over the rows; without it 200, or fewer from 22,500 rows on, and 15 from 300,000.
    patience : int
        Training ends after so many passes without a better macro mAP on the validation rows. The best pass is kept.
    loss : {"bce", "focal", "asymmetric"}
        See `eno.models.losses.MultiLabelLoss`.
    loss_options : mapping, optional
        Further options of the loss, such as ``{"gamma": 1.0}``.
    class_weights : {"none", "balanced", "effective"}
        What the positives of rare labels weigh; see `eno.models.losses.positive_weights`.
    label_smoothing : float
        How far targets are moved towards one half.
    mixup : float
        Alpha of the Beta distribution by which rows of a batch are mixed in pairs; 0 for none.
    pooling : {"none", "mean", "attention", "max"}
        "none" learns from one vector a track. The others learn from its windows (`eno.models.bags.Bags`), and from
        its labels which windows matter.
    seed : int
        Decides the initial weights, the order of the rows, the dropout and the mixing.
    device : str
        See `eno.devices.resolve_device`.

    Attributes
    ----------
    history : list of Epoch
        What happened in training.
    best_epoch : int
        Index of the kept pass in `history`.

    Examples
    --------
    >>> X = np.random.default_rng(0).standard_normal((200, 8)).astype(np.float32)
    >>> Y = (X[:, :2] > 0).astype(np.float32)
    >>> MLPHead(hidden=(), max_epochs=30).fit(X, Y).predict_proba(X).shape
    (200, 2)

    Notes
    -----
    Where the encoder gives several layers, X is (n, layers, dim), and the head learns how much each layer weighs.

    Vectors are read batch by batch, so that a memory-mapped matrix stays on disk. Of more than 10,000 validation rows
    a draw of so many decides when to stop.

    References
    ----------
    One hidden layer of 512 with dropout is the probe of the MARBLE benchmark (R. Yuan et al., NeurIPS 2023). Mixup:
    H. Zhang et al., ICLR 2018. Windows under the labels of their track: see `eno.models.perceptron.Perceptron`.
    """

    def __init__(
        self,
        *,
        hidden: tuple[int, ...] = (512,),
        dropout: float = 0.5,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-2,
        warm_up: float = 0.05,
        batch_size: int | None = None,
        max_epochs: int | None = None,
        patience: int = 20,
        loss: str = "bce",
        loss_options: Mapping[str, float] | None = None,
        class_weights: str = "none",
        label_smoothing: float = 0.0,
        mixup: float = 0.0,
        pooling: str = "none",
        seed: int = 0,
        device: str = "auto",
    ) -> None:
        self.hidden, self.dropout = hidden, dropout
        self.learning_rate, self.weight_decay, self.warm_up = learning_rate, weight_decay, warm_up
        self.batch_size, self.max_epochs, self.patience = batch_size, max_epochs, patience
        self.loss, self.loss_options = loss, loss_options
        self.class_weights, self.label_smoothing, self.mixup = class_weights, label_smoothing, mixup
        self.pooling, self.seed, self.device = pooling, seed, device
        self.history: list[Epoch] = []
        self.best_epoch = -1
        self._network: Perceptron | None = None

    @property
    def takes_windows(self) -> bool:
        """See `eno.models.Head`."""
        return self.pooling != "none"

    def fit(
        self,
        X: Vectors,
        Y: Labels,
        X_val: Vectors | None = None,
        Y_val: Labels | None = None,
        *,
        groups: np.ndarray | None = None,
        sample_weight: np.ndarray | None = None,
    ) -> Self:
        """Learn from vectors and their labels; see `eno.models.Head.fit`.

        Raises
        ------
        ValueError
            Shapes do not fit together, there are too few rows, or a value is not finite.
        TrainingError
            The loss is not a number any more.
        """
        if self.pooling not in POOLINGS:
            raise ValueError(f"pooling {self.pooling!r}: choose from {', '.join(POOLINGS)}.")
        if self.takes_windows and not isinstance(X, Bags):
            raise ValueError(f"pooling {self.pooling!r} learns from windows: give eno.models.bags.Bags, not an array.")
        training = training_and_validation(
            X, Y, X_val, Y_val, groups=groups, sample_weight=sample_weight, seed=self.seed
        )
        device = resolve_device(self.device)
        # Whatever else in the process draws random numbers, the same seed gives the same head.
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(self.seed)
            network = self._build(training.shape, training.Y.shape[1])
            network.mean, network.scale = map(torch.from_numpy, training.moments())
            single, prior = training.single_class(), torch.from_numpy(logit(training.priors())).float()
            network.prior[single] = prior[single]
            network.output.bias.data = prior  # so that rare labels need not be unlearned first
            self._train(network.to(device), training, device)
        self._network = network
        return self

    def _build(self, shape: tuple[int, ...], labels: int) -> Perceptron:
        return Perceptron(shape, labels, hidden=tuple(self.hidden), dropout=self.dropout, pooling=self.pooling)

    def _train(self, network: Perceptron, training: Training, device: torch.device) -> None:
        rows = len(training)
        batch = self.batch_size or int(np.clip(rows // 100, *_BATCH))
        epochs = self.max_epochs or int(np.clip(_ROWS_SEEN // rows, *_EPOCHS))
        optimizer = torch.optim.AdamW(network.parameters(), self.learning_rate, weight_decay=self.weight_decay)
        total = epochs * -(-rows // batch)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, total, self.warm_up))
        weights = positive_weights(self.class_weights, training.positives(), rows)
        options = dict(self.loss_options or {})
        loss_fn = MultiLabelLoss(
            self.loss, label_smoothing=self.label_smoothing, positive_weights=weights, **options
        ).to(device)
        random = np.random.default_rng(self.seed)
        judged = np.sort(random.permutation(len(training.rows_val))[:_JUDGED])
        truth = training.Y_val[judged].toarray()
        self.history, stopping, best_state = [], EarlyStopping(self.patience), network.state_dict()
        for number in range(1, epochs + 1):
            network.train()
            loss = 0.0
            for X, real, Y, row_weights in self._batches(training, batch, random, device):
                value = loss_fn(network(X, real), Y, row_weights)
                optimizer.zero_grad()
                value.backward()
                optimizer.step()
                schedule.step()
                loss += value.item() * len(Y)
            if not math.isfinite(loss):
                raise TrainingError(
                    f"The loss is {loss} in epoch {number}. Try a learning_rate below {self.learning_rate}."
                )
            probabilities = self._apply(network, training.X_val, training.rows_val[judged])
            val_map = macro_map(truth, probabilities)
            epoch = Epoch(
                number=number,
                train_loss=loss / rows,
                val_loss=_loss(loss_fn, probabilities, truth),
                val_map=val_map,
                learning_rate=float(schedule.get_last_lr()[0]),
            )
            self.history.append(epoch)
            self._report(number, epochs)
            if self.on_epoch is not None:
                self.on_epoch(epoch)
            if stopping.improved(number, val_map):
                best_state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
            elif stopping.stops(number):
                break
        self.best_epoch = stopping.best - 1
        network.load_state_dict(best_state)
        network.eval()

    def _batches(
        self, training: Training, size: int, random: np.random.Generator, device: torch.device
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor | None, torch.Tensor, torch.Tensor]]:
        """Give the training rows once, in a new order: vectors, which windows there are, labels, weights."""
        weights = training.weights / max(float(training.weights.mean()), 1e-12)
        order = random.permutation(len(training))
        for first in range(0, len(order), size):
            chosen = order[first : first + size]
            X, real = self._tensors(training.X, training.rows[chosen], device)
            Y = torch.from_numpy(training.Y[chosen].toarray()).to(device)
            of_rows = torch.from_numpy(weights[chosen]).to(device)
            if self.mixup > 0:
                if real is None:
                    X, Y, of_rows = mixup(self.mixup, random, X, Y, of_rows)
                else:
                    X, Y, of_rows, real = mixup(self.mixup, random, X, Y, of_rows, real)
            yield X, real, Y, of_rows

    def _tensors(
        self, X: Vectors, rows: np.ndarray | slice, device: torch.device
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        if not self.takes_windows:
            return torch.from_numpy(take(X, rows)).to(device), None
        bags = X[rows]
        if not isinstance(bags, Bags):  # a track of which only the mean is known has one window
            bags = Bags(take(X, rows), np.ones(len(bags), np.int64))
        values, real = bags.padded()
        return torch.from_numpy(values).to(device), torch.from_numpy(real).to(device)

    def predict_proba(self, X: Vectors) -> np.ndarray:
        """Probabilities of all labels; see `eno.models.Head.predict_proba`."""
        if self._network is None:
            raise NotFitted(type(self).__name__)
        check_shape(X, self._network.shape)
        return self._apply(self._network, X, np.arange(len(X)))

    @torch.inference_mode()
    def _apply(self, network: Perceptron, X: Vectors, rows: np.ndarray) -> np.ndarray:
        network.eval()
        device = network.mean.device
        parts = [torch.sigmoid(network(*self._tensors(X, rows[at], device))).cpu() for at in chunks(len(rows), 4096)]
        result: np.ndarray = torch.cat(parts).numpy()
        return result

    def save(self, folder: Path | str) -> None:
        """Write the fitted head as ``head.json`` and ``head.safetensors``.

        Raises
        ------
        NotFitted
            There is nothing to save yet.
        """
        if self._network is None:
            raise NotFitted(type(self).__name__)
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with replace_file(folder / _WEIGHTS) as temporary:
            save_file({name: value.cpu() for name, value in self._network.state_dict().items()}, temporary)
        history = [asdict(epoch) for epoch in self.history]
        options = self._saved_options()
        content = {"head": "mlp", "options": options, "best_epoch": self.best_epoch, "history": history}
        write_json(folder / HEAD_FILE, content)

    @classmethod
    def load(cls, folder: Path | str, *, device: str = "auto") -> Self:
        """Read what `save` wrote.

        Raises
        ------
        ModelError
            A file is missing or damaged.
        """
        folder = Path(folder)
        try:
            content = json.loads((folder / HEAD_FILE).read_text(encoding="utf-8"))
            weights = _renamed(load_file(folder / _WEIGHTS))
            head = cls(**content["options"], device=device)
            network = head._build(tuple(weights["mean"].shape), len(weights["output.bias"]))
            weights.setdefault("prior", network.prior)  # heads that were saved before it was there
            network.load_state_dict(weights)
            head.history = [Epoch(**({"number": n} | epoch)) for n, epoch in enumerate(content["history"], 1)]
            head.best_epoch = content["best_epoch"]
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise ModelError(f"{folder}: the saved head is damaged ({error!r}). Train it again.") from error
        head._network = network.to(resolve_device(device)).eval()
        return head


def _rate(step: int, total: int, warm_up: float) -> float:
    """Share of the learning rate at a step."""
    rising = max(1, round(warm_up * total))
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, total - rising)))


def _loss(loss_fn: MultiLabelLoss, probabilities: np.ndarray, truth: np.ndarray) -> float:
    device = next(loss_fn.buffers()).device
    logits = torch.logit(torch.from_numpy(probabilities), eps=1e-7).to(device)
    return float(loss_fn(logits, torch.from_numpy(truth).to(device)))


def _renamed(weights: dict[str, Any]) -> dict[str, Any]:
    """Weights under today's names: heads of eno 0.1 had one sequence of layers, and deviations instead of scales."""
    if "output.bias" in weights:
        return weights
    last = max((name for name in weights if name.endswith(".bias")), key=lambda name: int(name.split(".")[1]))
    prefix = last.removesuffix("bias")
    renamed = {
        name.replace(prefix, "output.") if name.startswith(prefix) else name.replace("layers.", "body."): value
        for name, value in weights.items()
    }
    return renamed | {"scale": 1 / renamed.pop("deviation")}
