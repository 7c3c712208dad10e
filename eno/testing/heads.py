"""The contract of heads."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import sparse

from eno.errors import NotFitted
from eno.models.average_precision import average_precision_and_auc
from eno.models.bags import Bags
from eno.models.types import Head
from eno.testing.expect import expect, expect_close, expect_error
from eno.views import RowView

Create = Callable[[], Head]

_SUFFIXES = {".json", ".safetensors", ".txt", ".faiss", ".npy", ".npz", ".parquet"}


def check_head(create: Create) -> None:
    """Run every check of `HEAD_CHECKS` on a head; an AssertionError describes a failure.

    `create` returns an unfitted head: a class, or a function that passes options. It should fit 600 rows of 12
    dimensions within seconds.

    Examples
    --------
    >>> from eno.models import KNNHead
    >>> check_head(KNNHead)
    """
    for check in HEAD_CHECKS:
        check(create)


def half_spaces(
    seed: int = 0, n: int = 600, dim: int = 12, labels: int = 5, scale: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Return vectors [shape=(n, dim)] and labels that are noisy half-spaces of them, from common to rare."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, dim))
    directions = np.random.default_rng(99).standard_normal((dim, labels))
    logits = X @ directions - np.linspace(0, 3, labels)
    Y = (rng.random((n, labels)) < 1 / (1 + np.exp(-2 * logits))).astype(np.float32)
    return (X * scale).astype(np.float32), Y


def generalises_to_held_out_rows(create: Create) -> None:
    """Mean ROC-AUC is above 0.9 where logistic regression reaches about 0.97."""
    head, (X_test, Y_test) = create(), half_spaces(1)
    expect(head.fit(*half_spaces()) is head, "fit must return the head itself.")
    area = _auc(Y_test, head.predict_proba(X_test))
    expect(area > 0.9, f"ROC-AUC on held-out rows is {area:.3f}, expected above 0.9.")


def returns_probabilities(create: Create) -> None:
    """Probabilities are float32 and have the frequencies of the labels on average."""
    X, Y = half_spaces()
    head = create().fit(X, Y)
    probabilities = head.predict_proba(X)
    expect(head.predict_proba(X[:0]).shape == (0, Y.shape[1]), "no vectors must have no probabilities, not an error.")
    expect(probabilities.dtype == np.float32, f"probabilities have the type {probabilities.dtype}, expected float32.")
    expect(((probabilities >= 0) & (probabilities <= 1)).all(), "probabilities must be in 0 … 1.")
    expect_close(probabilities.mean(axis=0), Y.mean(axis=0), 0.06, "mean probabilities of the training rows")


def fits_the_same_twice(create: Create) -> None:
    """Results do not depend on the global random generators of PyTorch and NumPy, and leave them unchanged."""
    X, Y = half_spaces(n=150)
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        state = torch.random.get_rng_state(), np.random.get_state()[1].tolist()  # type: ignore[index]  # noqa: NPY002
        found.append(create().fit(X, Y).predict_proba(X))
        untouched = torch.equal(state[0], torch.random.get_rng_state())
        untouched &= state[1] == np.random.get_state()[1].tolist()  # type: ignore[index]  # noqa: NPY002
        expect(untouched, "fit must not draw from the global random generators of PyTorch and NumPy.")
    expect_close(found[1], found[0], 0, "probabilities of a head that is fitted twice on the same data")


def ignores_rows_of_weight_0(create: Create) -> None:
    """Rows with inverted labels and weight 0 do no harm."""
    X, Y = half_spaces()
    weights = np.repeat([1.0, 0.0], len(X))
    head = create().fit(np.concatenate([X, X]), np.concatenate([Y, 1 - Y]), *half_spaces(2), sample_weight=weights)
    X_test, Y_test = half_spaces(1)
    area = _auc(Y_test, head.predict_proba(X_test))
    expect(area > 0.9, f"with inverted labels of weight 0, ROC-AUC is {area:.3f}, expected above 0.9.")


def ignores_labels_of_weight_0(create: Create) -> None:
    """What is written where a label has weight 0 does no harm, in training and in validation rows."""
    (X, Y), (X_val, Y_val) = half_spaces(), half_spaces(2, n=200)
    known, known_val = (np.random.default_rng(len(one)).random(one.shape) < 0.7 for one in (Y, Y_val))
    weights = {"sample_weight": known.astype(np.float32), "sample_weight_val": known_val.astype(np.float32)}
    found = []
    for wrong in (0, 1):
        labels, labels_val = np.where(known, Y, wrong), np.where(known_val, Y_val, wrong)
        head = create().fit(X, labels, X_val, labels_val, **weights)
        found.append(head.predict_proba(X))
    expect_close(found[1], found[0], 1e-5, "probabilities after other labels of weight 0")
    expect_close(_saved_and_loaded(head).predict_proba(X), found[1], 2e-7, "saved and loaded, with weights of labels")


def takes_layers(create: Create) -> None:
    """Vectors can have layers [shape=(n, layers, dim)]."""
    X, Y = half_spaces()
    layers = np.stack([X, np.random.default_rng(5).standard_normal(X.shape).astype(np.float32)], axis=1)
    head = create().fit(layers, Y)
    probabilities = head.predict_proba(layers)
    expect(_auc(Y, probabilities) > 0.8, "vectors with a layer of noise: ROC-AUC of the training rows is below 0.8.")
    expect_close(_saved_and_loaded(head).predict_proba(layers), probabilities, 2e-7, "saved and loaded, with layers")
    expect(
        head.predict_proba(layers[:0]).shape == (0, Y.shape[1]), "no vectors with layers: expected no probabilities."
    )
    expect_error(lambda: head.predict_proba(X), ValueError, "vectors without layers")


def takes_soft_labels(create: Create) -> None:
    """Labels between 0 and 1 are probabilities."""
    X, _ = half_spaces(n=1500)
    Y = np.full((len(X), 2), [0.3, 0.8], np.float32)
    Y[::2] = [0.1, 0.6]
    means = create().fit(X, Y).predict_proba(X).mean(axis=0)
    expect_close(means, np.array([0.2, 0.7]), 0.06, "mean probabilities of soft labels")


def takes_sparse_labels(create: Create) -> None:
    """SciPy's sparse arrays are equivalent to dense ones."""
    X, Y = half_spaces(n=150)
    dense = create().fit(X, Y).predict_proba(X)
    expect_close(create().fit(X, sparse.csr_array(Y)).predict_proba(X), dense, 0, "sparse instead of dense labels")


def leaves_its_arguments_unchanged(create: Create) -> None:
    """Arrays can be read-only, of any numeric type and memory layout, and are not changed."""
    X, Y = half_spaces(n=150)
    expected = create().fit(X, Y).predict_proba(X)
    stored = sparse.csr_array((Y.ravel(), np.nonzero(np.ones_like(Y))), Y.shape)
    for array in (stored.data, stored.indices, stored.indptr):
        array.setflags(write=False)
    cases: dict[str, tuple[Any, Any]] = {
        "vectors in column order, read-only sparse labels with stored zeros": (np.asfortranarray(X), stored),
        "vectors of float64, integer labels in column order": (
            X.astype(np.float64),
            np.asfortranarray(Y.astype(np.int64)),
        ),
        "lists of vectors, boolean labels": (X.tolist(), Y > 0),
        "read-only vectors, lists of labels": (X, Y.tolist()),
    }
    for name, (vectors, labels) in cases.items():
        if isinstance(vectors, np.ndarray):
            vectors.setflags(write=False)
        expect_close(create().fit(vectors, labels).predict_proba(vectors), expected, 1e-5, name)
    expect(stored.nnz == Y.size and (stored.toarray() == Y).all(), "fit must not change sparse labels in place.")


def takes_vectors_from_anywhere(create: Create) -> None:
    """Vectors can be in a memory-mapped file of half precision, a view of a store, or windows that are averaged."""
    X, Y = half_spaces(n=150)
    X = X.astype(np.float16).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(X))
    expected = create().fit(X, Y).predict_proba(X)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        np.save(Path(folder) / "x.npy", X.astype(np.float16))
        sources = {
            "a memory-mapped array": np.load(Path(folder) / "x.npy", mmap_mode="r"),
            "a RowView": RowView(X[order], np.argsort(order)),
            "Bags": Bags(np.repeat(X, 2, axis=0), np.full(len(X), 2)),
        }
        for name, source in sources.items():
            expect_close(create().fit(source, Y).predict_proba(source), expected, 1e-6, f"vectors in {name}")


def takes_more_labels_than_rows(create: Create) -> None:
    """24 rows with 100 labels can be fitted."""
    X, Y = half_spaces(n=24)
    probabilities = create().fit(X, np.tile(Y, (1, 20))).predict_proba(X)
    expect(probabilities.shape == (24, 100), f"the shape is {probabilities.shape}, expected (24, 100).")
    expect(np.isfinite(probabilities).all(), "with more labels than rows, probabilities are not finite.")
    expect_close(probabilities[:, :5], probabilities[:, 5:10], 0.5, "probabilities of labels that are the same")


def takes_constant_dimensions(create: Create) -> None:
    """Dimensions can be constant."""
    X, Y = half_spaces()
    padded = np.hstack([X, np.full((len(X), 3), 1e4, np.float32)])
    probabilities = create().fit(padded, Y).predict_proba(padded)
    expect(np.isfinite(probabilities).all(), "with constant dimensions, probabilities are not finite.")


def predicts_base_rates_of_constant_labels(create: Create) -> None:
    """The base rate of labels with only positives or only negatives follows Laplace's rule of succession."""
    X, Y = half_spaces()
    Y[:, 1], Y[:, 2] = 0, 1
    probabilities = create().fit(X, Y, X, Y).predict_proba(X)[:, 1:3]
    expected = np.tile([1 / (len(X) + 2), 1 - 1 / (len(X) + 2)], (len(X), 1))
    expect_close(probabilities, expected, 1e-3 / len(X), "probabilities of constant labels")


def saves_and_loads_without_pickle(create: Create) -> None:
    """A loaded head returns the same probabilities, and its files cannot run code."""
    X, Y = half_spaces(n=150)
    head = create().fit(X, Y)
    expect_close(_saved_and_loaded(head).predict_proba(X), head.predict_proba(X), 2e-7, "saved and loaded")


def refuses_to_predict_before_fit(create: Create) -> None:
    """Prediction and saving raise NotFitted before `fit`."""
    expect_error(lambda: create().predict_proba(np.zeros((1, 12), np.float32)), NotFitted, "predict_proba before fit")
    with tempfile.TemporaryDirectory() as folder:
        expect_error(lambda: create().save(folder), NotFitted, "save before fit")


def refuses_wrong_arrays(create: Create) -> None:
    """Wrong shapes, values that are not finite, labels outside 0 … 1 and single rows raise a ValueError."""
    X, Y = half_spaces(n=60)
    broken = X.copy()
    broken[2, 3] = np.nan
    cases: dict[str, tuple[np.ndarray, ...]] = {
        "fewer vectors than labels": (X[:50], Y),
        "vectors of one dimension": (X[:, 0], Y),
        "NaN among the vectors": (broken, Y),
        "labels of 2": (X, Y * 2),
        "a single row": (X[:1], Y[:1]),
        "validation vectors of another size": (X, Y, X[:, :3], Y),
        "another number of validation labels": (X, Y, X, Y[:, :3]),
        "validation vectors without labels": (X, Y, X),
    }
    cases["no labels"] = (X, Y[:, :0])
    for name, arrays in cases.items():
        expect_error(lambda arrays=arrays: create().fit(*arrays), ValueError, name)  # type: ignore[misc]
    one_group = np.full(len(X), "artist")
    expect_error(lambda: create().fit(X, Y, groups=one_group), ValueError, "one group, so nothing can be held out")
    head = create().fit(X, Y)
    expect_error(lambda: head.predict_proba(X[:, :7]), ValueError, "prediction of vectors of another size")
    expect_error(lambda: head.predict_proba(broken), ValueError, "prediction of NaN")
    infinite = np.where(np.isnan(broken), np.inf, broken)
    expect_error(lambda: head.predict_proba(infinite), ValueError, "prediction of infinite values")


def saves_what_was_fitted(create: Create) -> None:
    """Options that are changed after `fit` affect neither predictions nor what is saved."""
    X, Y = half_spaces(n=200)
    head: Any = create().fit(X, Y)
    if not hasattr(head, "set_params"):
        return
    expected = head.predict_proba(X)
    others = {"hidden": (5,), "heads": ("knn",), "smoothing": 9.0, "l2": (5.0,), "num_leaves": 3, "pooling": "mean"}
    head.set_params(**{name: value for name, value in others.items() if name in head.get_params()})
    expect_close(head.predict_proba(X), expected, 0, "probabilities after set_params")
    expect_close(_saved_and_loaded(head).predict_proba(X), expected, 2e-7, "saved after set_params, and loaded")


HEAD_CHECKS: tuple[Callable[[Create], None], ...] = (
    generalises_to_held_out_rows,
    returns_probabilities,
    fits_the_same_twice,
    ignores_rows_of_weight_0,
    ignores_labels_of_weight_0,
    takes_layers,
    takes_soft_labels,
    takes_sparse_labels,
    leaves_its_arguments_unchanged,
    takes_vectors_from_anywhere,
    takes_more_labels_than_rows,
    takes_constant_dimensions,
    predicts_base_rates_of_constant_labels,
    saves_and_loads_without_pickle,
    saves_what_was_fitted,
    refuses_to_predict_before_fit,
    refuses_wrong_arrays,
)
"""Every check of a head; each takes what `check_head` takes."""


def _auc(truth: np.ndarray, probabilities: np.ndarray) -> float:
    return float(np.nanmean(average_precision_and_auc(truth, probabilities)[1]))


def _saved_and_loaded(head: Head) -> Head:
    with tempfile.TemporaryDirectory() as folder:
        head.save(folder)
        suffixes = {file.suffix for file in Path(folder).rglob("*") if file.is_file()}
        expect(suffixes <= _SUFFIXES, f"saved as {', '.join(suffixes)}; expected {', '.join(sorted(_SUFFIXES))}.")
        return type(head).load(folder)
