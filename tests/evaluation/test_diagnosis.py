from itertools import pairwise

import numpy as np
import pytest

from eno.cnn.settings import describe_options
from eno.config import load_settings
from eno.evaluation.confidence import Interval
from eno.evaluation.diagnosis import Predictions, diagnose
from eno.evaluation.remedies import REMEDIES
from eno.registry import TRAINED_HEADS

LABELS = [f"label {i}" for i in range(8)]
ISSUES = [
    "under-fitting", "over-fitting", "labels that are never predicted", "class imbalance",
    "labels without training tracks", "labels without test tracks", "constant predictions", "miscalibration",
]  # fmt: skip


def predictions(seed, signal, rows=400):
    random = np.random.default_rng(seed)
    logits = random.normal(size=(rows, 8)) * signal - 1
    truth = random.random(logits.shape) < 1 / (1 + np.exp(-logits))
    return Predictions(truth, (1 / (1 + np.exp(-logits))).astype(np.float32))


def found(test, *, thresholds=0.3, counts=(50, 5, 40, 30, 20, 10, 60, 4), groups=None, **options):
    rows = range(len(test.truth)) if groups is None else groups
    findings = diagnose(
        LABELS, test, groups=rows, thresholds=np.full(8, thresholds), train_positives=np.array(counts), **options
    )
    assert [one.issue for one in findings] == ISSUES
    assert all(one.evidence and bool(one.remedy) == bool(one.found) for one in findings)
    return {one.issue: one for one in findings}


def test_good_predictions_have_no_issues():
    good = found(predictions(0, 4), train=predictions(1, 4), test_map=Interval(0.9, 0.8, 0.95))
    assert [one.found for one in good.values()] == [False] * len(ISSUES)
    assert "none of the 8 labels" in good["labels that are never predicted"].evidence


def test_under_fitting():
    findings = found(predictions(0, 0.5), train=predictions(1, 0.5))
    assert [findings[one].found for one in ISSUES[:2]] == [True, False]
    assert "in training and" in findings["under-fitting"].evidence


@pytest.mark.parametrize(("high", "answer"), [(0.7, True), (0.999, None), (np.nan, None)])
def test_over_fitting_needs_a_gap_that_is_wider_than_the_interval(high, answer):
    findings = found(predictions(0, 1), train=predictions(1, 8), test_map=Interval(0.5, 0.4, high))
    assert [findings[one].found for one in ISSUES[:2]] == [False, answer]
    assert ("too few artists" in findings["over-fitting"].evidence) == (answer is None)


@pytest.mark.parametrize("head", ["forest", "knn", "blend", "auto"])
def test_heads_that_memorise_are_not_said_to_over_fit(head):
    test, train = predictions(0, 1), predictions(1, 8)
    train.probabilities[:] = train.truth
    finding = found(test, train=train, head=head)["over-fitting"]
    assert finding.found is None
    assert f"the head {head} always ranks its own training tracks" in finding.evidence


def test_fit_is_not_checked_without_training_tracks():
    assert [found(predictions(0, 4))[one].found for one in ISSUES[:2]] == [None, None]


def never_predicted(counts, **options):
    test = predictions(0, 4)
    test.probabilities[:, [1, 5, 7]] /= 5
    return found(test, counts=counts, **options)


def test_labels_that_are_never_predicted_are_listed_with_their_training_tracks():
    findings = never_predicted([50, 5, 40, 30, 20, 10, 60, 4])
    finding, imbalance = findings["labels that are never predicted"], findings["class imbalance"]
    assert finding.found
    assert imbalance.found
    assert "3 of the 8 labels" in finding.evidence
    assert "label 7 (4 training tracks), label 1 (5 training tracks), label 5 (10 training tracks)" in finding.evidence
    assert "have 5 training tracks (median of 3), others 40 (median of 5; p = 0.018)" in imbalance.evidence


@pytest.mark.parametrize("counts", [[33] * 8, [5, 50, 4, 3, 2, 60, 6, 40], [33, 30, 36, 31, 35, 34, 29, 33]])
def test_labels_that_are_not_rarer_are_no_class_imbalance(counts):
    findings = never_predicted(counts)
    assert findings["labels that are never predicted"].found
    assert not findings["class imbalance"].found


def test_labels_of_few_artists_may_be_missed_by_chance():
    findings = never_predicted([50, 5, 40, 30, 20, 10, 60, 4], groups=np.arange(400) % 4)
    assert not findings["labels that are never predicted"].found


def test_thresholds_by_label_are_only_suggested_to_others():
    assert "scut" in never_predicted([9] * 8)["labels that are never predicted"].remedy
    finding = never_predicted([9] * 8, calibration={"rule": "scut"})["labels that are never predicted"]
    assert "scut" not in finding.remedy


def test_untested_untrained_and_constant_labels_are_listed():
    test = predictions(0, 4)
    test.truth[:, 2] = False
    test.probabilities[:, [3, 4]] = 0.25
    findings = found(test, counts=(50, 5, 40, 30, 0, 10, 60, 4))
    assert "label 2" in findings["labels without test tracks"].evidence
    assert findings["labels without training tracks"].evidence.endswith("no training tracks: label 4")
    assert (
        "1 of 7 labels with training tracks have the same probability on every test track: label 3 (30 training tracks)"
        in findings["constant predictions"].evidence
    )


@pytest.mark.parametrize("power", [0.5, 2])
def test_miscalibration(power):
    test = predictions(0, 4)
    finding = found(Predictions(test.truth, test.probabilities**power))["miscalibration"]
    assert finding.found
    assert "calibration error is 0." in finding.evidence


def test_miscalibration_is_not_found_by_chance():
    # With tracks of ten artists, the calibration error of true probabilities is far above 0.05.
    wrong, errors, trials = 0, 0, 60
    for seed in range(trials):
        random, owner = np.random.default_rng(seed), np.repeat(np.arange(10), 5)
        p = 1 / (1 + np.exp(1.5 - 1.5 * random.normal(size=(10, 8))))
        truth = (random.random(p.shape) < p)[owner]
        finding = found(Predictions(truth, p[owner].astype(np.float32)), groups=owner)["miscalibration"]
        wrong += finding.found
        errors += "chance would produce this" in finding.evidence
    assert wrong <= 8  # nominally 3
    assert errors > 40


def test_miscalibration_of_few_artists_is_unknown():
    test = predictions(0, 4)
    finding = found(Predictions(test.truth, test.probabilities**2), groups=np.arange(400) % 5)["miscalibration"]
    assert finding.found is None


def test_one_track_without_positives():
    findings = found(Predictions(np.zeros((1, 8)), np.full((1, 8), 0.2)))
    assert findings["labels without test tracks"].found
    assert findings["miscalibration"].found is None


def remedies(head, **calibration):
    test = Predictions(predictions(0, 1).truth, np.full((400, 8), 0.01, np.float32))
    test.truth[:, 2] = False
    test.probabilities[:, 0] = predictions(0, 1).probabilities[:, 0]
    counts = [0, 5, 40, 30, 20, 10, 60, 4]
    poor = found(test, train=predictions(1, 0.2), head=head, calibration=calibration, counts=counts)
    rare = never_predicted([50, 5, 40, 30, 20, 10, 60, 4], head=head)
    over = found(predictions(0, 1), train=predictions(1, 3), head=head)
    found_issues = {one.issue for each in (poor, rare, over) for one in each.values() if one.found}
    assert found_issues == set(ISSUES)
    return " ".join(one.remedy for each in (poor, rare, over) for one in each.values())


@pytest.mark.parametrize("head", [*TRAINED_HEADS, "simple_cnn"])
def test_remedies_are_settings_that_exist_and_that_the_model_has(head):
    words = remedies(head).replace("(", " ").replace(")", " ").split()
    settings = [after.rstrip(",;:") for word, after in pairwise(words) if word == "--set"]
    assert {one.split(".")[0] for one in settings} <= {head, "calibration", "split", "labels"}
    chosen = load_settings(overrides=[one.replace("…", "5") for one in settings])
    for section in chosen.options:
        chosen.options_of(section)
    heads = {after.rstrip(",;:") for word, after in pairwise(words) if word == "--head"}
    assert heads <= set(TRAINED_HEADS) - {head}
    options = [word.rstrip(",").partition("=") for word in words if word.startswith("--") and "scripts" not in word]
    own = [option for option in options if option[0].removeprefix("--") in describe_options()]
    assert bool(own) == (head == "simple_cnn")


def test_every_head_has_its_own_remedies():
    assert {*TRAINED_HEADS, "simple_cnn"} <= set(REMEDIES)


@pytest.mark.parametrize(("method", "suggested"), [("platt", False), ("temperature", True), ("none", True)])
def test_the_method_of_calibration_in_use_is_not_suggested(method, suggested):
    assert ("calibration.method=platt" in remedies("mlp", method=method)) == suggested
