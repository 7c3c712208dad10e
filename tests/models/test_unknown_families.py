"""Half of the albums lack their genres and half their descriptors, depending on the artist."""

import numpy as np
import pytest
from scipy.stats import norm

from eno.evaluation.metrics import evaluate
from eno.models import create_head
from eno.models.calibration.calibrate import fit_calibration
from eno.models.label_weights import LabelWeights

FAMILY = np.repeat([0, 1], 12)
OPTIONS = {"linear": {"l2": [0.1], "device": "cpu"}, "forest": {"trees": 50}, "knn": {"k": 20}}


def collection(rng, missing):
    to_labels = np.random.default_rng(1).standard_normal((12, len(FAMILY))) / np.sqrt(12)
    to_vectors = np.random.default_rng(2).standard_normal((12, 30)) / np.sqrt(12)
    artists = rng.standard_normal((150, 12))
    albums = np.repeat(0.8 * artists, 3, axis=0) + 0.6 * rng.standard_normal((450, 12))
    scores = albums @ to_labels + 0.4 * rng.standard_normal((450, len(FAMILY)))
    Y = (scores > norm.isf(np.tile(np.linspace(0.05, 0.3, 12), 2), scale=np.sqrt(1.16))).astype(np.float32)
    known = np.repeat(artists[:, :2] + 0.5 * rng.standard_normal((150, 2)) > (0 if missing else -np.inf), 3, axis=0)
    tracks = np.repeat(np.arange(450), 4)
    X = (albums[tracks] + 0.8 * rng.standard_normal((1800, 12))) @ to_vectors + 0.4 * rng.standard_normal((1800, 30))
    return X.astype(np.float32), (Y * known[:, FAMILY])[tracks], LabelWeights.of_families(known[tracks], FAMILY)


@pytest.mark.parametrize("name", list(OPTIONS))
def test_they_are_nearly_as_good_as_complete_labels_if_they_are_not_negatives(name):
    X_test, Y_test, _ = collection(np.random.default_rng(9), missing=False)
    found = {}
    for way, missing in (("complete", False), ("unknown", True), ("negative", True)):
        (X, Y, weights), (X_val, Y_val, weights_val) = (collection(np.random.default_rng(n), missing) for n in (0, 1))
        if way == "negative":
            weights = weights_val = LabelWeights.of(None, Y.shape)
        head = create_head(name, **OPTIONS[name])
        head.fit(X, Y, X_val, Y_val, sample_weight=weights, sample_weight_val=weights_val)
        calibration = fit_calibration(head.predict_proba(X_val), Y_val, known=weights_val.known())
        probabilities = calibration.apply(head.predict_proba(X_test))
        found[way] = evaluate(Y_test, probabilities, thresholds=calibration.thresholds)
    assert found["unknown"].map_macro > found["negative"].map_macro
    assert found["unknown"].f1_macro > found["negative"].f1_macro + 0.02
    assert found["unknown"].f1_macro > found["complete"].f1_macro - 0.07
    assert found["unknown"].ece < 0.5 * found["negative"].ece
