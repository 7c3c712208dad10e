"""A multi-layer perceptron: the head to start with."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from scipy.special import logit
from torch import nn

from eno.devices import resolve_device
from eno.errors import ModelError, NotFitted
from eno.files import replace_file, write_json
from eno.models import HEAD_FILE, Labels
from eno.models.base import Options, check_shape, priors, single_class, training_and_validation
from eno.models.ranking import average_precisions

logger = logging.getLogger(__name__)

_WEIGHTS = "head.safetensors"


@dataclass(frozen=True)
class Epoch:
    """One pass over the training rows.

    Attributes
    ----------
    train_loss : float
        Mean binary cross-entropy over the pass.
    val_map : float or None
        Macro mean average precision on the validation rows after it; None if they have no positives.
    """

    train_loss: float
    val_map: float | None


class MLPHead(Options):
    """Perceptron over standardised vectors, trained with binary cross-entropy and Adam.

    Parameters
    ----------
    hidden : tuple of int
        Widths of the hidden layers; ``()`` makes it a logistic regression.
    dropout : float
        Share of hidden values that are dropped while training.
    learning_rate, weight_decay : float
        Of AdamW.
    batch_size : int
        Rows per step.
    max_epochs, patience : int
        Training ends after so many passes, or so many without a better macro mAP on the validation rows; the best
        pass is kept.
    seed : int
        Decides the initial weights, the order of the rows and the dropout.
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

    One hidden layer of 512 with dropout is the probe of the MARBLE benchmark (Yuan et al., NeurIPS 2023).
    """

    def __init__(
        self,
        *,
        hidden: tuple[int, ...] = (512,),
        dropout: float = 0.5,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-2,
        batch_size: int = 64,
        max_epochs: int = 200,
        patience: int = 20,
        seed: int = 0,
        device: str = "auto",
    ) -> None:
        self.hidden, self.dropout = hidden, dropout
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.batch_size, self.max_epochs, self.patience = batch_size, max_epochs, patience
        self.seed, self.device = seed, device
        self.history: list[Epoch] = []
        self.best_epoch = -1
        self._network: _Perceptron | None = None

    def fit(
        self,
        X: np.ndarray,
        Y: Labels,
        X_val: np.ndarray | None = None,
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
        """
        X, dense, weights, X_val, dense_val = training_and_validation(
            X, Y, X_val, Y_val, groups=groups, sample_weight=sample_weight, seed=self.seed
        )
        device = resolve_device(self.device)
        # The seed must not depend on what else draws random numbers, nor disturb it.
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(self.seed)
            network = self._build(X.shape[1:], dense.shape[1])
            network.standardise(torch.from_numpy(X))
            single = single_class(dense)
            network.prior[single] = torch.from_numpy(logit(priors(dense, weights))[single]).float()
            self._train(network.to(device), X, dense, weights, X_val, dense_val, device)
        self._network = network
        return self

    def _build(self, shape: tuple[int, ...], labels: int) -> _Perceptron:
        return _Perceptron(shape, labels, hidden=tuple(self.hidden), dropout=self.dropout)

    def _train(
        self,
        network: _Perceptron,
        X: np.ndarray,
        Y: np.ndarray,
        weights: np.ndarray,
        X_val: np.ndarray,
        Y_val: np.ndarray,
        device: torch.device,
    ) -> None:
        optimizer = torch.optim.AdamW(network.parameters(), self.learning_rate, weight_decay=self.weight_decay)
        loss_fn = nn.BCEWithLogitsLoss(reduction="none")
        inputs, targets = torch.from_numpy(X), torch.from_numpy(Y)
        of_rows = torch.from_numpy(weights / max(float(weights.mean()), 1e-12))[:, None]
        self.history, self.best_epoch = [], -1
        best_map, best_state = -1.0, network.state_dict()
        for epoch in range(self.max_epochs):
            network.train()
            total = 0.0
            order = torch.randperm(len(inputs))
            for first in range(0, len(order), self.batch_size):
                rows = order[first : first + self.batch_size]
                losses = loss_fn(network(inputs[rows].to(device)), targets[rows].to(device))
                loss = (losses * of_rows[rows].to(device)).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.item() * len(rows)
            precisions = average_precisions(Y_val > 0, self._apply(network, X_val))
            val_map = float(np.nanmean(precisions)) if np.isfinite(precisions).any() else None
            self.history.append(Epoch(total / len(inputs), val_map))
            # Validation rows without any positive cannot rank the passes: then the last one is kept.
            if val_map is None or val_map > best_map:
                best_map, self.best_epoch = val_map or 0.0, epoch
                best_state = {name: value.clone() for name, value in network.state_dict().items()}
            elif epoch - self.best_epoch >= self.patience:
                break
        network.load_state_dict(best_state)
        network.eval()

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Probabilities of all labels; see `eno.models.Head.predict_proba`."""
        if self._network is None:
            raise NotFitted(type(self).__name__)
        check_shape(X, self._network.shape)
        return self._apply(self._network, X)

    @staticmethod
    @torch.inference_mode()
    def _apply(network: _Perceptron, X: np.ndarray) -> np.ndarray:
        network.eval()
        device = network.mean.device
        rows = torch.from_numpy(np.ascontiguousarray(X, dtype=np.float32))
        chunks = [rows[first : first + 4096].to(device) for first in range(0, max(1, len(rows)), 4096)]
        probabilities = [torch.sigmoid(network(chunk)).cpu() for chunk in chunks]
        result: np.ndarray = torch.cat(probabilities).numpy()
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
            weights = load_file(folder / _WEIGHTS)
            head = cls(**content["options"], device=device)
            biases = [name for name in weights if name.endswith(".bias")]
            last = max(biases, key=lambda name: int(name.split(".")[1]))
            network = head._build(tuple(weights["mean"].shape), len(weights[last]))
            weights.setdefault("prior", network.prior)  # heads that were saved before it was there
            network.load_state_dict(weights)
            head.history = [Epoch(**epoch) for epoch in content["history"]]
            head.best_epoch = content["best_epoch"]
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            raise ModelError(f"{folder}: the saved head is damaged ({error!r}). Train it again.") from error
        head._network = network.to(resolve_device(device)).eval()
        return head


class _Perceptron(nn.Module):
    """Standardised inputs, a weighted sum over the encoder's layers if it gave several, hidden layers, logits.

    Parameters
    ----------
    shape : tuple of int
        Of one input: ``(dim,)`` or ``(layers, dim)``.
    """

    mean: torch.Tensor
    deviation: torch.Tensor
    prior: torch.Tensor

    def __init__(self, shape: tuple[int, ...], labels: int, *, hidden: tuple[int, ...], dropout: float) -> None:
        super().__init__()
        self.shape = shape
        self.register_buffer("mean", torch.zeros(shape))
        self.register_buffer("deviation", torch.ones(shape))
        self.register_buffer("prior", torch.full((labels,), torch.nan))  # logits of labels that cannot be learned
        self.layer_weights = nn.Parameter(torch.zeros(shape[0])) if len(shape) == 2 else None
        dim = shape[-1]
        layers: list[nn.Module] = []
        for width in hidden:
            layers += [nn.Linear(dim, width), nn.ReLU(), nn.Dropout(dropout)]
            dim = width
        self.layers = nn.Sequential(*layers, nn.Linear(dim, labels))

    def standardise(self, X: torch.Tensor) -> None:
        """Give every dimension mean 0 and deviation 1 over these rows."""
        self.mean = X.mean(dim=0)
        deviation = X.std(dim=0, correction=0)
        # A dimension that never changes carries nothing: it becomes 0 instead of rounding noise blown up.
        self.deviation = torch.where(deviation > 1e-6 * self.mean.abs().clamp_min(1e-6), deviation, torch.inf)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        standardised = (X - self.mean) / self.deviation
        if self.layer_weights is not None:
            standardised = torch.einsum("nld,l->nd", standardised, self.layer_weights.softmax(0))
        logits: torch.Tensor = self.layers(standardised)
        return torch.where(self.prior.isnan(), logits, self.prior)
