import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from eno.evaluation.by_label import BANDS, PER_LABEL_SCHEMA, breakdown, frequency_bands, per_label
from eno.evaluation.metrics import evaluate

FAMILIES = ["genre"] * 3 + ["descriptor"] * 4 + ["instruments"]
HEADINGS = ["genres"] * 3 + ["descriptors"] * 4 + ["instruments"]


@pytest.fixture
def data():
    random = np.random.default_rng(0)
    truth = random.random((80, 8)) < [0.5, 0.2, 0.1, 0, 0.4, 0.3, 1, 0.1]
    return truth, np.clip(0.3 * truth + 0.7 * random.random(truth.shape), 0, 1)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=20))
def test_bands_divide_the_positives_into_thirds(counts):
    bands = frequency_bands(np.array(counts))
    for one, band in zip(counts, bands, strict=True):
        before = sum(other for other in counts if other > one) / max(1, sum(counts))
        expected = "tail" if one == 0 or before >= 2 / 3 else "torso" if before >= 1 / 3 else "head"
        # A share of exactly a third may fall on either side of it by rounding.
        assert band == expected or min(abs(before - 1 / 3), abs(before - 2 / 3)) < 1e-9
    ranks = [BANDS.index(bands[i]) for i in np.argsort(-np.array(counts), kind="stable")]
    assert ranks == sorted(ranks)


def test_families_and_bands_are_evaluated_separately(data):
    truth, p = data
    limits = np.linspace(0.2, 0.8, 8)
    counts = np.array([400, 100, 90, 5, 100, 80, 4, 3])
    parts = breakdown(truth, p, thresholds=limits, families=FAMILIES, train_positives=counts)
    assert list(parts) == ["genres", "descriptors", "instruments", "head", "torso", "tail"]
    assert parts["genres"] == evaluate(truth[:, :3], p[:, :3], thresholds=limits[:3])
    assert parts["descriptors"] == evaluate(truth[:, 3:7], p[:, 3:7], thresholds=limits[3:7])
    assert parts["instruments"] == evaluate(truth[:, 7:], p[:, 7:], thresholds=limits[7:])
    assert (parts["descriptors"].without_positives, parts["descriptors"].without_negatives) == (1, 1)
    assert parts["head"] == evaluate(truth[:, :1], p[:, :1], thresholds=limits[:1])
    assert sum(parts[band].labels for band in BANDS) == 6


def test_constant_parts_are_none_and_empty_ones_missing(data):
    truth, p = data
    parts = breakdown(truth[:, :4], p[:, :4], families=["genre"] * 4, train_positives=np.array([50, 50, 50, 0]))
    assert parts["tail"] is None
    assert set(parts) == {"genres", "head", "tail"}


def test_each_label_equals_scikit_learn(data):
    truth, p = data
    limits = np.linspace(0.2, 0.8, 8)
    names = [f"label {i}" for i in range(8)]
    table = per_label(names, truth, p, thresholds=limits, families=FAMILIES, train_positives=np.arange(8))
    assert table.schema == PER_LABEL_SCHEMA
    rows = {row["label"]: row for row in table.to_pylist()}
    for i, name in enumerate(names):
        row, predicted = rows[name], p[:, i] > limits[i]
        assert (row["family"], row["train_positives"]) == (HEADINGS[i], i)
        assert (row["test_positives"], row["predicted"]) == (truth[:, i].sum(), predicted.sum())
        if i in (3, 6):
            assert all(
                row[key] is None for key in ("precision", "recall", "f1", "average_precision", "lift", "roc_auc")
            )
            continue
        expected = sk.precision_recall_fscore_support(truth[:, i], predicted, average="binary", zero_division=0.0)
        assert [row[key] for key in ("precision", "recall", "f1")] == pytest.approx(list(expected[:3]))
        precision = sk.average_precision_score(truth[:, i], p[:, i])
        assert row["average_precision"] == pytest.approx(precision)
        assert row["lift"] == pytest.approx(precision / truth[:, i].mean())
        assert row["roc_auc"] == pytest.approx(sk.roc_auc_score(truth[:, i], p[:, i]))
        assert row["threshold"] == pytest.approx(limits[i])


def test_lowest_average_precision_comes_first_and_nulls_last(data):
    found = per_label(list("abcdefgh"), *data, families=FAMILIES, train_positives=np.ones(8))
    precisions = found["average_precision"].to_pylist()
    assert precisions[-2:] == [None, None]
    assert precisions[:-2] == sorted(precisions[:-2])
    assert found["label"].to_pylist()[-2:] == ["d", "g"]
