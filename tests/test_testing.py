"""The contract checks find violations and describe them."""

import numpy as np
import pytest

from eno.encoders import load_encoder
from eno.errors import NotFitted
from eno.models import IdentityHead, KNNHead
from eno.testing import check_encoder, check_head
from eno.testing.expect import expect_error


class Biased(KNNHead):
    def predict_proba(self, X):
        return super().predict_proba(X) / 2


class Doubles(KNNHead):
    def predict_proba(self, X):
        return super().predict_proba(X).astype(np.float64)


class Forgetful(KNNHead):
    def _restore(self, content, arrays):
        super()._restore(content, arrays)
        self.chosen_k = 1


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (IdentityHead, "expected a probability for each label"),
        (Biased, "mean probabilities of the training rows: values differ"),
        (Doubles, "type float64, expected float32"),
        (Forgetful, "saved and loaded"),
    ],
)
def test_heads_that_break_the_contract(head, message):
    with pytest.raises((AssertionError, ValueError), match=message):
        check_head(head)


class Wrapped:
    # Signal statistics, changed by a function of the windows and their vectors.

    def __init__(self, change):
        self._encoder, self._change = load_encoder("stats", window_s=2.0), change
        self.spec = self._encoder.spec

    def encode(self, windows):
        return self._change(windows, self._encoder.encode(windows))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda windows, vectors: vectors[:, 0], "5 windows have vectors of shape"),
        (lambda windows, vectors: vectors * 0, "different windows have the same vector"),
        (lambda windows, vectors: vectors - vectors.mean(axis=0), "depend on the batch"),
        (lambda windows, vectors: np.where(np.ptp(windows, axis=1)[:, None, None] == 0, np.nan, vectors), "finite"),
    ],
)
def test_encoders_that_break_the_contract(change, message):
    with np.errstate(all="ignore"), pytest.raises(AssertionError, match=message):
        check_encoder(Wrapped(change))


def test_expect_error():
    with pytest.raises(AssertionError, match="before fit: expected NotFitted, but no error was raised"):
        expect_error(lambda: None, NotFitted, "before fit")
    with pytest.raises(AssertionError, match=r"expected NotFitted, got ZeroDivisionError"):
        expect_error(lambda: 1 / 0, NotFitted, "before fit")
