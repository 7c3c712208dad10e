from itertools import pairwise

import numpy as np
import pytest

from eno.cnn.settings import describe_options
from eno.config import load_settings
from eno.evaluation.diagnosis import Predictions, diagnose

LABELS = [f"label {i}" for i in range(6)]
ISSUES = [
    "under-fitting", "over-fitting", "class imbalance", "labels without test tracks", "constant predictions",
    "miscalibration",
]  # fmt: skip


def predictions(seed, signal, rows=400):
    random = np.random.default_rng(seed)
    logits = random.normal(size=(rows, 6)) * signal - 1
    truth = random.random(logits.shape) < 1 / (1 + np.exp(-logits))
    return Predictions(truth, (1 / (1 + np.exp(-logits))).astype(np.float32))


def found(test, *, thresholds=0.3, **options):
    counts = np.array([50, 5, 40, 30, 20, 10])
    findings = diagnose(LABELS, test, thresholds=np.full(6, thresholds), train_positives=counts, **options)
    assert [one.issue for one in findings] == ISSUES
    assert all(one.evidence and bool(one.remedy) == bool(one.found) for one in findings)
    return {one.issue: one for one in findings}


def test_good_predictions_have_no_issues():
    good = found(predictions(0, 4), train=predictions(1, 4), val=predictions(2, 4))
    assert not any(one.found for one in good.values())
    assert "each of the 6 labels" in good["class imbalance"].evidence


def test_under_fitting():
    findings = found(predictions(0, 0.5), train=predictions(1, 0.5), val=predictions(2, 0.5))
    assert [findings[one].found for one in ISSUES[:2]] == [True, False]
    assert "in training" in findings["under-fitting"].evidence
    assert "in validation" in findings["under-fitting"].evidence


def test_over_fitting():
    findings = found(predictions(0, 1), train=predictions(1, 8))
    assert [findings[one].found for one in ISSUES[:2]] == [False, True]
    assert "in test" in findings["over-fitting"].evidence


def test_fit_is_not_checked_without_training_tracks():
    assert [found(predictions(0, 4))[one].found for one in ISSUES[:2]] == [None, None]


def test_labels_that_are_never_predicted_are_listed_with_their_training_tracks():
    test = predictions(0, 4)
    test.probabilities[:, [1, 5]] /= 5
    finding = found(test)["class imbalance"]
    assert finding.found
    assert "2 of 6 labels" in finding.evidence
    assert "label 1 (5), label 5 (10)" in finding.evidence
    assert "median number of their training tracks is 7.5, that of the other labels 35" in finding.evidence


def test_untested_and_constant_labels_are_listed():
    test = predictions(0, 4)
    test.truth[:, 2] = False
    test.probabilities[:, 3] = 0.25
    findings = found(test)
    assert "label 2" in findings["labels without test tracks"].evidence
    assert (
        "1 of 6 labels have the same probability on every test track: label 3"
        in findings["constant predictions"].evidence
    )


@pytest.mark.parametrize("power", [0.5, 2])
def test_miscalibration(power):
    test = predictions(0, 4)
    finding = found(Predictions(test.truth, test.probabilities**power))["miscalibration"]
    assert finding.found
    assert "calibration error is 0." in finding.evidence


def test_one_track_without_positives():
    findings = found(Predictions(np.zeros((1, 6)), np.full((1, 6), 0.2)))
    assert findings["labels without test tracks"].found
    assert findings["miscalibration"].found is None


def remedies(head, calibration="platt"):
    test = Predictions(predictions(0, 1).truth, np.full((400, 6), 0.01, np.float32))
    test.truth[:, 2] = False
    poor = found(test, train=predictions(1, 0.2), val=predictions(2, 0.2), head=head, calibration=calibration)
    over = found(predictions(0, 1), train=predictions(1, 8), head=head)
    return " ".join(one.remedy for one in (*poor.values(), *over.values()))


@pytest.mark.parametrize("head", ["mlp", "linear", "lightgbm", "knn", "blend", "simple_cnn"])
def test_remedies_are_settings_that_exist_and_that_the_model_has(head):
    words = remedies(head).replace("(", " ").replace(")", " ").split()
    settings = [after.rstrip(",;:") for word, after in pairwise(words) if word == "--set"]
    assert {one.split(".")[0] for one in settings} <= {head, "calibration", "split", "labels"}
    chosen = load_settings(overrides=[one.replace("…", "5") for one in settings])
    for section in chosen.options:
        chosen.options_of(section)
    options = [word.rstrip(",").partition("=") for word in words if word.startswith("--") and "scripts" not in word]
    own = [option for option in options if option[0].removeprefix("--") in describe_options()]
    assert bool(own) == (head == "simple_cnn")


@pytest.mark.parametrize(("method", "suggested"), [("platt", False), ("temperature", True), ("none", True)])
def test_the_method_of_calibration_in_use_is_not_suggested(method, suggested):
    assert ("calibration.method=platt" in remedies("mlp", method)) == suggested
