"""Hyperparameter search for a head on held-out folds, within a time limit."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eno.data.splits.stratify import SPLITS
from eno.errors import ConfigError, MissingExtra, TrainingError
from eno.models import create_head
from eno.spec import fingerprint_of
from eno.training.collection import Collection, split_hash, split_ids, weights_of
from eno.training.feedback import Corrections

try:
    import optuna
    from optuna.storages.journal import JournalFileBackend
except ImportError as error:
    raise MissingExtra("tune", "optuna") from error

_GIVE_UP = 5  # stop after this many trials if all of them failed


@dataclass(frozen=True)
class TuneResult:
    """Result of a search.

    Attributes
    ----------
    options : dict
        The best options, for the head's section of ``eno.toml``.
    value, default_value : float
        Macro mAP on held-out tracks with the best and with the initial options. `value` is optimistic, because the
        options were selected on the same tracks.
    trials, failed, resumed : int
        Number of trials including earlier runs, of failed ones, and of those of earlier runs.
    seconds : float
        Duration of this run.
    """

    options: dict[str, Any]
    value: float
    default_value: float
    trials: int
    failed: int
    resumed: int
    seconds: float


def _mlp(trial: optuna.Trial) -> dict[str, Any]:
    width = trial.suggest_categorical("width", [256, 512, 1024])
    return {
        "hidden": [width] * trial.suggest_int("hidden_layers", 0, 2),
        "dropout": trial.suggest_float("dropout", 0.0, 0.75, step=0.05),
        "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True),
        "weight_decay": trial.suggest_float("weight_decay", 1e-4, 1.0, log=True),
        "label_smoothing": trial.suggest_categorical("label_smoothing", [0.0, 0.05, 0.1]),
        "mixup": trial.suggest_categorical("mixup", [0.0, 0.2, 0.4]),
    }


def _lightgbm(trial: optuna.Trial) -> dict[str, Any]:
    return {
        "num_leaves": trial.suggest_int("num_leaves", 4, 31),
        "learning_rate": trial.suggest_float("learning_rate", 0.02, 0.3, log=True),
        "feature_fraction": trial.suggest_float("feature_fraction", 0.05, 1.0, log=True),
        "min_data_in_leaf": trial.suggest_int("min_data_in_leaf", 5, 100, log=True),
    }


SPACES: dict[str, Callable[[optuna.Trial], dict[str, Any]]] = {"mlp": _mlp, "lightgbm": _lightgbm}
"""Head → its search space. ``linear`` and ``knn`` select their own options during fitting."""


def tune(
    collection: Collection,
    head: str,
    options: dict[str, Any],
    *,
    journal: Path,
    minutes: float,
    trials: int | None = None,
    device: str = "auto",
    seed: int = 0,
    on_trial: Callable[[int, float, float | None], None] | None = None,
    corrections: Corrections | None = None,
) -> TuneResult:
    """Search the space of a head (see `SPACES`) with a tree-structured Parzen estimator.

    Trials are compared on held-out folds of the training and validation splits. The test split is not read.

    Parameters
    ----------
    options : dict
        Options of the first trial; options outside the search space keep these values.
    journal : Path
        File with all trials, from which the next search continues. Searches over different embeddings, splits or labels
        can share it.
    minutes : float
        No trial starts after this time.
    trials : int, optional
        Maximum number of trials in this run.
    on_trial : callable, optional
        Called with the number of trials, the best macro mAP so far and that of the last trial, None if it failed.
    corrections : Corrections, optional
        Corrections of the training split. Other corrections are another search.
    """
    if head not in SPACES:
        raise ConfigError(f"The head {head!r} cannot be tuned. Choose from: {', '.join(SPACES)}.")
    began = time.monotonic()
    initial = create_head(head, **options)
    train = collection.tracks(*SPLITS[:2], head=initial)
    if corrections is not None:
        train, _ = corrections.apply(train, collection.labels)
    study = _open(collection, head, options, journal, seed, corrections)
    resumed = len(study.trials)

    def objective(trial: optuna.Trial) -> float:
        chosen = options if trial.number == 0 else options | SPACES[head](trial)
        trial.set_user_attr("options", chosen)
        fitted = create_head(head, device=device, **chosen)
        try:
            fitted.fit(train.X, train.Y, groups=train.groups, **weights_of(train))
            value = None if fitted.out_of_fold is None else fitted.out_of_fold.macro_map()
            if value is None:
                raise TrainingError(f"{collection.splits}: no label has positives and negatives, so mAP is undefined.")
        except (TrainingError, ValueError) as error:
            trial.set_user_attr("problem", str(error))
            raise
        return value

    def report(study: optuna.Study, trial: Any) -> None:
        values = [one.value for one in study.trials if one.value is not None]
        if not values and len(study.trials) >= _GIVE_UP:
            study.stop()
        if on_trial:
            on_trial(len(study.trials), max(values, default=float("nan")), trial.value)

    study.optimize(
        objective, n_trials=trials, timeout=minutes * 60, catch=(TrainingError, ValueError), callbacks=[report]
    )
    return _result(study, resumed, time.monotonic() - began)


def _open(
    collection: Collection,
    head: str,
    options: dict[str, Any],
    journal: Path,
    seed: int,
    corrections: Corrections | None,
) -> optuna.Study:
    store, labels = collection.store, collection.labels
    split = split_hash(split_ids(collection.splits))
    identity: list[Any] = [head, options, fingerprint_of(store.specs), split, labels.all_labels]
    if corrections is not None:
        latest = [[*one.subject, one.verdict] for one in corrections.feedback.latest()]
        identity.append([corrections.weight, latest])
    name = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]
    journal.parent.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(journal)))
    # Trials that were killed must not stay "running", and a resumed search must not repeat its random draws.
    study = optuna.create_study(storage=storage, study_name=f"{head}-{name}", direction="maximize", load_if_exists=True)
    study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials))
    for trial in study.get_trials(states=[optuna.trial.TrialState.RUNNING]):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    return study


def _result(study: optuna.Study, resumed: int, seconds: float) -> TuneResult:
    done = [(trial, trial.value) for trial in study.trials if trial.value is not None]
    if not done:
        problems = [trial.user_attrs.get("problem", "killed") for trial in study.trials]
        reason = problems[-1] if problems else "the time was too short for one. Increase --minutes."
        raise TrainingError(f"None of {len(problems)} trials succeeded: {reason}")
    best, value = max(done, key=lambda one: (one[1], -one[0].number))
    first = next((value for trial, value in done if trial.number == 0), float("nan"))
    return TuneResult(
        options=best.user_attrs["options"],
        value=value,
        default_value=first,
        trials=len(study.trials),
        failed=len(study.trials) - len(done),
        resumed=resumed,
        seconds=seconds,
    )
