import numpy as np
import pytest
import torch

from eno.models.epochs import EarlyStopping, mixup


@pytest.mark.parametrize(
    ("scores", "best", "epochs"),
    [
        ([0.1, 0.3, 0.2, 0.3, 0.9], 2, 4),  # an equal score is no improvement
        ([0.1, 0.2, 0.3], 3, 3),
        ([None, None, None], 3, 3),  # without scores the last epoch is kept
    ],
)
def test_early_stopping(scores, best, epochs):
    stopping, number = EarlyStopping(patience=2), 0
    for number, score in enumerate(scores, 1):
        improved = stopping.improved(number, score)
        assert improved == (stopping.best == number)
        if stopping.stops(number):
            break
    assert (stopping.best, number) == (best, epochs)


def test_mixup_uses_the_same_pairs_for_all_tensors():
    x = torch.eye(6)
    mask = x > 0
    mixed, labels, weights, united = mixup(0.5, np.random.default_rng(0), x, 2 * x, torch.ones(6), mask)
    torch.testing.assert_close(labels, 2 * mixed)
    torch.testing.assert_close(weights, torch.ones(6))
    torch.testing.assert_close(mixed.sum(dim=1), torch.ones(6))
    assert torch.equal(united, mixed > 0)
    assert torch.equal(x, torch.eye(6))
