"""Heads as ONNX files give the probabilities of the heads."""

import numpy as np
import pytest

from eno.models import create_head
from eno.models.label_weights import LabelWeights
from eno.models.onnx_export import export_onnx

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

RANDOM = np.random.default_rng(0)
Y = (RANDOM.random((80, 4)) < 0.3).astype(np.float32)
Y[:, 3] = 0  # a constant label


def exported(head, path, X):
    export_onnx(head, path, labels=["a", "b", "c", "d"])
    session = onnxruntime.InferenceSession(str(path))
    assert session.get_modelmeta().custom_metadata_map["labels"].split("\n") == ["a", "b", "c", "d"]
    return session.run(None, {"vectors": X})[0]


@pytest.mark.parametrize("shape", [(6,), (3, 5)])
@pytest.mark.parametrize(
    ("name", "options"),
    [("linear", {}), ("mlp", {"hidden": (), "max_epochs": 2}), ("mlp", {"hidden": (8, 5), "max_epochs": 2})],
)
def test_probabilities_are_those_of_the_head(name, options, shape, tmp_path):
    X = (3 + 2 * RANDOM.standard_normal((80, *shape))).astype(np.float32)
    head = create_head(name, **options).fit(X, Y)
    np.testing.assert_allclose(exported(head, tmp_path / "head.onnx", X), head.predict_proba(X), atol=1e-5)


def test_a_single_fit_and_the_average_of_folds(tmp_path):
    X = RANDOM.standard_normal((80, 6)).astype(np.float32)
    for arguments, count in (((X, Y), 5), ((X, Y, X[:20], Y[:20]), 0)):
        head = create_head("mlp", hidden=(4,), max_epochs=2).fit(*arguments)
        assert len(head._members) == count
        np.testing.assert_allclose(exported(head, tmp_path / "head.onnx", X), head.predict_proba(X), atol=1e-5)


@pytest.mark.parametrize("complete", [True, False])
def test_labels_that_exclude_each_other(complete, tmp_path):
    X = RANDOM.standard_normal((80, 6)).astype(np.float32)
    labels, genres = (RANDOM.random((80, 4)) < 0.5).astype(np.float32), np.eye(3)[RANDOM.integers(3, size=80)]
    labels[:, [0, 1, 3]] = genres
    labels[:1, [0, 1, 3]] *= complete
    weights = LabelWeights.of_families(np.ones((80, 2)), np.array([0, 0, 1, 0]))
    for name in ("linear", "mlp"):
        head = create_head(name).fit(X, labels, sample_weight=weights)
        sums = head.predict_proba(X)[:, [0, 1, 3]].sum(axis=1)
        assert (np.abs(sums - 1) < 1e-5).all() if complete else (sums < 1).all()
        np.testing.assert_allclose(exported(head, tmp_path / "head.onnx", X), head.predict_proba(X), atol=1e-5)


@pytest.mark.parametrize(("name", "options"), [("knn", {"k": (3,)}), ("kernel", {})])
def test_other_heads_are_refused(name, options, tmp_path):
    X = RANDOM.standard_normal((80, 6)).astype(np.float32)
    with pytest.raises(ValueError, match=f"'{name}' cannot be exported"):
        export_onnx(create_head(name, **options).fit(X, Y), tmp_path / "head.onnx")
