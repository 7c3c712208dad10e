"""The multi-layer perceptron."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Self, get_args

import numpy as np
import torch
from scipy import sparse
from scipy.special import logit

from eno.data.labels.values import present
from eno.devices import resolve_device
from eno.errors import TrainingError
from eno.models.average_precision import macro_map
from eno.models.bags import Bags
from eno.models.base import BaseHead
from eno.models.epochs import EarlyStopping, Epoch, mixup
from eno.models.heads.perceptron import Perceptron, Pooling
from eno.models.losses import ClassWeights, Loss, MultiLabelLoss, positive_weights
from eno.models.training_data import TrainingData, check_finite, chunks, take
from eno.models.types import Count, NonNegative, Positive, Share, Vectors

_VAL_ROWS = 10_000  # for early stopping; more would hardly change the mean
_ROWS_SEEN = 4_500_000  # in all epochs together: fifteen epochs over 300,000 tracks
_EPOCHS = (15, 200)
_BATCH = (64, 1024)
_LOSSES_AT_ONCE = 1024  # rows


class MLPHead(BaseHead):
    """Multi-layer perceptron on standardised vectors.

    Parameters
    ----------
    hidden : sequence of int
        Widths of the hidden layers; without any, it is logistic regression.
    dropout : float
        Dropout of the hidden layers.
    learning_rate, weight_decay : float
        Of AdamW. The learning rate rises linearly over a fraction `warm_up` of all steps, then decays to 0 along a
        cosine.
    batch_size : int, optional
        Rows per step; by default 1 % of the training rows, from 64 to 1024.
    max_epochs : int, optional
        By default 200, fewer from 22,500 training rows on, and 15 from 300,000.
    patience : int
        Early stopping: epochs without a higher macro mAP minus loss on the validation rows (see
        `eno.models.average_precision.ValidationScore`). The best epoch is kept.
    loss : {"bce", "focal", "asymmetric"}
        Binary cross-entropy, focal or asymmetric loss; see `eno.models.losses.MultiLabelLoss`.
    loss_options : mapping, optional
        Further options of the loss, such as ``{"gamma": 1.0}``.
    class_weights : {"none", "balanced", "effective"}
        Weights of the positives of rare labels; see `eno.models.losses.positive_weights`.
    label_smoothing : float
        How far targets are moved towards 0.5.
    mixup : float
        Alpha of `eno.models.epochs.mixup`; 0 turns it off.
    pooling : {"none", "mean", "attention", "max"}
        How the network pools the windows of a track (`eno.models.bags.Bags`); "none" takes the mean of each track.
    seed : int
        Seed of the initial weights, row order, dropout and mixup.

    Attributes
    ----------
    history : list of Epoch
    best_epoch : int
        Index in `history` of the epoch that was kept.

    Examples
    --------
    >>> X = np.random.default_rng(0).standard_normal((200, 8)).astype(np.float32)
    >>> Y = (X[:, :2] > 0).astype(np.float32)
    >>> MLPHead(hidden=(), max_epochs=30).fit(X, Y).predict_proba(X).shape
    (200, 2)

    Notes
    -----
    The layers of an encoder are averaged with learned weights. Early stopping uses at most 10,000 validation rows. One
    hidden layer of 512 with dropout is the probe of the MARBLE benchmark (R. Yuan et al., NeurIPS 2023).
    """

    name = "mlp"
    _is_averaged = True

    def __init__(
        self,
        *,
        hidden: Sequence[Count] = (512,),
        dropout: Share = 0.5,
        learning_rate: Positive = 1e-3,
        weight_decay: NonNegative = 1e-2,
        warm_up: Share = 0.05,
        batch_size: Count | None = None,
        max_epochs: Count | None = None,
        patience: Count = 20,
        loss: Loss = "bce",
        loss_options: Mapping[str, float] | None = None,
        class_weights: ClassWeights = "none",
        label_smoothing: Share = 0.0,
        mixup: NonNegative = 0.0,
        pooling: Pooling = "none",
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

    def _fit(self, data: TrainingData) -> None:
        if self.pooling not in get_args(Pooling):
            raise ValueError(f"pooling = {self.pooling!r}: expected one of {', '.join(get_args(Pooling))}.")
        if self.takes_windows and not isinstance(data.X, Bags):
            raise ValueError(f"pooling = {self.pooling!r} needs windows: pass eno.models.bags.Bags, not an array.")
        device = resolve_device(self.device)
        # The same seed must give the same head, whatever else in the process draws random numbers.
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(self.seed)
            network = self._build(data.shape, data.Y.shape[1])
            network.mean, network.scale = map(torch.from_numpy, data.moments())
            constant, prior = data.constant_labels(), torch.from_numpy(logit(data.base_rates())).float()
            network.prior[constant] = prior[constant]
            network.output.bias.data = prior  # so that the first epochs are not spent on the base rates of rare labels
            self._train(network.to(device), data, device)
        self._network = network

    def _refit_options(self, fitted: Sequence[Self]) -> dict[str, Any]:
        return {"max_epochs": max(fitted[0].best_epoch + 1, 1)}

    def _adopt(self, fitted: Sequence[Self]) -> None:
        self.history, self.best_epoch = fitted[0].history, fitted[0].best_epoch

    def _build(self, shape: tuple[int, ...], labels: int) -> Perceptron:
        return Perceptron(shape, labels, hidden=tuple(self.hidden), dropout=self.dropout, pooling=self.pooling)

    def _train(self, network: Perceptron, data: TrainingData, device: torch.device) -> None:
        rows = len(data)
        batch = self.batch_size or int(np.clip(rows // 100, *_BATCH))
        epochs = self.max_epochs or int(np.clip(_ROWS_SEEN // rows, *_EPOCHS))
        optimizer = torch.optim.AdamW(network.parameters(), self.learning_rate, weight_decay=self.weight_decay)
        total = epochs * -(-rows // batch)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, total, self.warm_up))
        loss_fn = MultiLabelLoss(
            self.loss,
            label_smoothing=self.label_smoothing,
            positive_weights=positive_weights(self.class_weights, data.positives(), data.weights.counts()),
            **dict(self.loss_options or {}),
        ).to(device)
        random = np.random.default_rng(self.seed)
        some_val = np.sort(random.permutation(len(data.rows_val))[:_VAL_ROWS])
        truth, known = data.Y_val[some_val], data.weights_val[some_val].known()
        is_present = present(truth).toarray()
        self.history, stopping, best_state = [], EarlyStopping(self.patience), network.state_dict()
        for number in range(1, epochs + 1):
            network.train()
            loss = 0.0
            for X, real, Y, weights in self._batches(data, batch, random, device):
                value = loss_fn(network(X, real), Y, weights)
                optimizer.zero_grad()
                value.backward()
                optimizer.step()
                schedule.step()
                loss += value.item() * len(Y)
            if not math.isfinite(loss):
                raise TrainingError(
                    f"Training diverged: the loss is {loss} in epoch {number}. "
                    f"Try a learning_rate below {self.learning_rate}."
                )
            probabilities = self._apply(network, data.X_val, data.rows_val[some_val])
            val_map = macro_map(is_present, probabilities, known)
            val_loss = _loss(loss_fn, probabilities, truth, known) if len(some_val) else None
            epoch = Epoch(
                number=number,
                train_loss=loss / rows,
                val_loss=val_loss,
                val_map=val_map,
                learning_rate=float(schedule.get_last_lr()[0]),
            )
            self.history.append(epoch)
            self._report(number, epochs)
            if self.on_epoch is not None:
                self.on_epoch(epoch)
            if stopping.improved(number, None if val_map is None or val_loss is None else val_map - val_loss):
                best_state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
            elif stopping.stops(number):
                break
        self.best_epoch = stopping.best - 1
        network.load_state_dict(best_state)
        network.eval()

    def _batches(
        self, data: TrainingData, size: int, random: np.random.Generator, device: torch.device
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor | None, torch.Tensor, torch.Tensor]]:
        """Yield vectors, which windows are real, labels and weights, shuffled."""
        mean = np.float32(data.weights.scale() / len(data))
        order = random.permutation(len(data))
        for first in range(0, len(order), size):
            chosen = order[first : first + size]
            X, real = _tensors(data.X, data.rows[chosen], device, pools=self.takes_windows)
            Y = torch.from_numpy(data.Y[chosen].toarray()).to(device)
            weights = torch.from_numpy(data.weights[chosen].dense() / mean).to(device)
            if self.mixup > 0:
                # Mixed targets are means weighted like the losses, so that labels that are not known stay out of them.
                if real is None:
                    X, Y, weights = mixup(self.mixup, random, X, Y * weights, weights)
                else:
                    X = _repeated(X, real)
                    X, Y, weights, real = mixup(self.mixup, random, X, Y * weights, weights, real)
                Y = Y / weights.clamp_min(1e-12)
            yield X, real, Y, weights

    def _read(self, X: Vectors, rows: slice) -> Any:
        found = X[rows]
        if not isinstance(found, Bags):
            return super()._read(X, rows)
        check_finite(found.means(), rows.start)
        return found

    def _predict(self, X: Any) -> np.ndarray:
        assert self._network is not None
        return self._apply(self._network, X, np.arange(len(X)))

    @torch.inference_mode()
    def _apply(self, network: Perceptron, X: Vectors, rows: np.ndarray) -> np.ndarray:
        network.eval()
        device = network.mean.device
        pools = network.pooling != "none"
        result = np.empty((len(rows), len(network.prior)), np.float32)
        for at in chunks(len(rows), 4096):
            logits = network(*_tensors(X, rows[at], device, pools=pools))
            result[at] = torch.sigmoid(logits).cpu().numpy()
        return result

    def _state(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        assert self._network is not None
        history = [asdict(epoch) for epoch in self.history]
        arrays = {name: value.cpu().numpy() for name, value in self._network.state_dict().items()}
        return {"best_epoch": self.best_epoch, "history": history}, arrays

    def _restore(self, content: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        weights = _renamed({name: torch.tensor(value) for name, value in arrays.items()})
        network = self._build(tuple(weights["mean"].shape), len(weights["output.bias"]))
        weights.setdefault("prior", network.prior)  # missing in the first heads of eno 0.1
        network.load_state_dict(weights)
        self.history = [Epoch(**({"number": n} | epoch)) for n, epoch in enumerate(content["history"], 1)]
        self.best_epoch = content["best_epoch"]
        self._network, self._shape = network.to(resolve_device(self.device)).eval(), network.shape


def _tensors(
    X: Vectors, rows: np.ndarray | slice, device: torch.device, *, pools: bool
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return vectors, or with `pools` padded windows and which of them are real."""
    if not pools:
        return torch.from_numpy(take(X, rows)).to(device), None
    bags = X[rows]
    if not isinstance(bags, Bags):  # the mean of a track counts as its only window
        bags = Bags(take(X, rows), np.ones(len(bags), np.int64))
    values, real = bags.padded()
    return torch.from_numpy(values).to(device), torch.from_numpy(real).to(device)


def _repeated(windows: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Replace the padding of each track by its own windows over again, so that mixup mixes only windows."""
    places = torch.arange(windows.shape[1], device=windows.device) % real.sum(dim=1, keepdim=True)
    return windows[torch.arange(len(windows), device=windows.device)[:, None], places]


def _rate(step: int, total: int, warm_up: float) -> float:
    """Return the fraction of the peak learning rate at a step."""
    rising = max(1, round(warm_up * total))
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, total - rising)))


def _loss(
    loss_fn: MultiLabelLoss, probabilities: np.ndarray, truth: sparse.csr_array, known: np.ndarray | None
) -> float:
    """Return the mean loss, computed in chunks: the loss of all rows takes several times their memory."""
    scale, device, total = 1.0 if known is None else max(known.mean(), 1e-12), next(loss_fn.buffers()).device, 0.0
    for rows in chunks(len(probabilities), _LOSSES_AT_ONCE):
        weights = None if known is None else torch.from_numpy(known[rows] / np.float32(scale)).to(device)
        logits = torch.logit(torch.from_numpy(probabilities[rows]), eps=1e-7).to(device)
        loss = loss_fn(logits, torch.from_numpy(truth[rows].toarray()).to(device), weights)
        total += float(loss) * (rows.stop - rows.start)
    return total / len(probabilities)


def _renamed(weights: dict[str, Any]) -> dict[str, Any]:
    """Convert weights of the first heads of eno 0.1: one sequence of layers, and deviations instead of scales."""
    if "output.bias" in weights:
        return weights
    last = max((name for name in weights if name.endswith(".bias")), key=lambda name: int(name.split(".")[1]))
    prefix = last.removesuffix("bias")
    renamed = {
        name.replace(prefix, "output.") if name.startswith(prefix) else name.replace("layers.", "body."): value
        for name, value in weights.items()
    }
    return renamed | {"scale": 1 / renamed.pop("deviation")}
