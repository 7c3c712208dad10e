import json

import numpy as np
import pytest

from eno.data.labels.encoder import LabelEncoder
from eno.errors import ConfigError, TrainingError
from eno.models.heads.mlp import MLPHead
from eno.training.collection import Collection
from eno.training.feedback import Correction, Corrections, Feedback
from eno.training.tune import tune

QUICK = {"hidden": [8], "max_epochs": 2, "learning_rate": 1e-3}


def search(collection, tmp_path, **options):
    trials = []
    options = {"minutes": 60, "trials": 4, "journal": tmp_path / "tune.journal", "device": "cpu"} | options
    found = tune(collection, "mlp", QUICK, on_trial=lambda *one: trials.append(one), **options)
    return found, trials


def test_the_best_options_on_validation_are_at_least_as_good_as_the_defaults(collection, tmp_path):
    found, trials = search(collection, tmp_path)
    assert found.trials == len(trials) == 4
    assert found.value == max(last for _, _, last in trials)
    assert found.default_value == trials[0][2]
    assert found.value >= found.default_value
    both = collection.tracks("train", "val")
    head = MLPHead(**found.options, device="cpu").fit(both.X, both.Y, groups=both.groups, sample_weight=both.weights)
    assert head.out_of_fold.macro_map() == pytest.approx(found.value)
    assert found.options["max_epochs"] == 2  # outside the search space


def test_a_search_continues_from_earlier_trials(collection, tmp_path):
    first, _ = search(collection, tmp_path)
    again, _ = search(collection, tmp_path)
    assert (first.trials, again.resumed, again.trials) == (4, 4, 8)
    assert again.value >= first.value
    fewer = Collection(collection.store, collection.splits, LabelEncoder(["jazz"], []))
    assert search(fewer, tmp_path)[0].resumed == 0  # with other labels it is another search


def test_corrections_are_learned_from_and_are_another_search(collection, tmp_path):
    train = collection.tracks("train")
    feedback = Feedback(tmp_path / "feedback.jsonl")
    stamp = "2025-01-01T00:00:00+00:00"
    rng = np.random.default_rng(0)
    feedback.append(
        Correction(time=stamp, track_id=track_id, tag=tag, family=family, verdict=str(rng.choice(["add", "reject"])))
        for track_id in train.ids
        for tag, family in zip(collection.labels.all_labels, collection.labels.families, strict=True)
    )
    without, _ = search(collection, tmp_path, trials=1)
    found, _ = search(collection, tmp_path, trials=1, corrections=Corrections(feedback))
    assert found.resumed == 0
    assert found.value < without.value - 0.05  # nothing can be learned from random labels
    assert search(collection, tmp_path, trials=1, corrections=Corrections(feedback))[0].resumed == 1


def test_failed_trials_are_counted_and_the_search_continues(collection, tmp_path, monkeypatch):
    fit = MLPHead.fit

    def failing(self, *arguments, **options):
        if self.dropout < 0.4:
            raise TrainingError("bad luck")
        return fit(self, *arguments, **options)

    monkeypatch.setattr(MLPHead, "fit", failing)
    found, trials = search(collection, tmp_path, trials=8)
    failed = [last for _, _, last in trials if last is None]
    assert found.failed == len(failed) > 0
    assert np.isfinite(found.value)
    monkeypatch.setattr(MLPHead, "fit", lambda *_, **__: (_ for _ in ()).throw(TrainingError("bad luck")))
    with pytest.raises(TrainingError, match="None of 5 trials succeeded: bad luck"):
        search(collection, tmp_path / "other", trials=20)


def test_heads_without_search_space_and_labels_without_positives(collection, tmp_path):
    with pytest.raises(ConfigError, match=r"'linear' cannot be tuned\. Choose from: mlp, lightgbm"):
        tune(collection, "linear", {}, journal=tmp_path / "x", minutes=1)
    polka = Collection(collection.store, collection.splits, LabelEncoder(["polka"], []))
    with pytest.raises(TrainingError, match="so mAP is undefined"):
        search(polka, tmp_path)


def test_the_journal_is_text(collection, tmp_path):
    search(collection, tmp_path)
    for line in (tmp_path / "tune.journal").read_text().splitlines():
        json.loads(line)
