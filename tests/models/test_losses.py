"""Losses against the formulas of the papers, and values computed by hand."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from eno.models.losses import MultiLabelLoss, positive_weights

LOGITS = torch.tensor([[0.8, -0.2, 3.0], [-4.0, 0.0, 1.5]])
TARGETS = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])


def spread(seed=0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (20, 6)).astype(np.float32)
    return torch.from_numpy(logits), torch.from_numpy((rng.random((20, 6)) < 0.3).astype(np.float32))


def mean_over(formula, logits, targets):
    pairs = zip(logits.double().flatten().tolist(), targets.double().flatten().tolist(), strict=True)
    return np.mean([formula(1 / (1 + math.exp(-logit)), y) for logit, y in pairs])


class TestFormulas:
    def test_binary_cross_entropy_of_the_guide(self):
        expected = nn.BCEWithLogitsLoss()(LOGITS, TARGETS)
        torch.testing.assert_close(MultiLabelLoss()(LOGITS, TARGETS), expected)
        by_hand = -(math.log(1 / (1 + math.exp(-0.8))) + math.log(1 - 1 / (1 + math.exp(0.2)))) / 2
        assert MultiLabelLoss()(torch.tensor([[0.8, -0.2]]), torch.tensor([[1.0, 0.0]])).item() == pytest.approx(
            by_hand
        )

    @pytest.mark.parametrize("gamma", [0.5, 2.0, 5.0])
    def test_focal(self, gamma):
        def formula(p, y):  # equation 4 of the paper, without its alpha
            of_truth = p if y == 1 else 1 - p
            return -((1 - of_truth) ** gamma) * math.log(of_truth)

        logits, targets = spread()
        assert MultiLabelLoss("focal", gamma=gamma)(logits, targets).item() == pytest.approx(
            mean_over(formula, logits, targets), rel=1e-5
        )

    def test_focal_by_hand(self):
        # p = 1/2 and gamma = 2: a quarter of log 2.
        loss = MultiLabelLoss("focal", gamma=2.0)(torch.zeros(1, 2), torch.tensor([[0.0, 1.0]]))
        assert loss.item() == pytest.approx(math.log(2) / 4)

    @pytest.mark.parametrize(("negative", "positive", "clip"), [(4.0, 1.0, 0.05), (2.0, 0.0, 0.0), (3.0, 2.0, 0.2)])
    def test_asymmetric(self, negative, positive, clip):
        def formula(p, y):  # equations 4 to 7 of the paper
            shifted = max(p - clip, 0)
            return -(((1 - p) ** positive * math.log(p)) if y == 1 else (shifted**negative * math.log(1 - shifted)))

        logits, targets = spread()
        loss = MultiLabelLoss("asymmetric", gamma_negative=negative, gamma_positive=positive, clip=clip)
        assert loss(logits, targets).item() == pytest.approx(mean_over(formula, logits, targets), rel=1e-5)

    @pytest.mark.parametrize(
        "same",
        [
            MultiLabelLoss("focal", gamma=0.0),
            MultiLabelLoss("asymmetric", gamma_negative=0.0, gamma_positive=0.0, clip=0.0),
            MultiLabelLoss(positive_weights=np.ones(6)),
        ],
    )
    def test_neutral_parameters_equal_binary_cross_entropy(self, same):
        logits, targets = spread()
        torch.testing.assert_close(same(logits, targets), nn.BCEWithLogitsLoss()(logits, targets))

    def test_smoothing_moves_targets_towards_one_half(self):
        expected = nn.BCEWithLogitsLoss()(LOGITS, TARGETS * 0.9 + 0.05)
        torch.testing.assert_close(MultiLabelLoss(label_smoothing=0.1)(LOGITS, TARGETS), expected)

    def test_positive_weights_equal_those_of_pytorch(self):
        logits, targets = spread()
        weights = np.array([0.5, 1, 2, 4, 8, 16], np.float32)
        expected = nn.BCEWithLogitsLoss(pos_weight=torch.from_numpy(weights))(logits, targets)
        torch.testing.assert_close(MultiLabelLoss(positive_weights=weights)(logits, targets), expected)

    def test_single_label_is_weighted(self):
        logits, targets = LOGITS[:, :1], TARGETS[:, :1]
        expected = nn.BCEWithLogitsLoss(pos_weight=torch.tensor([3.0]))(logits, targets)
        torch.testing.assert_close(MultiLabelLoss(positive_weights=np.array([3.0]))(logits, targets), expected)

    def test_row_weights_are_equivalent_to_copies(self):
        logits, targets = spread()
        weights = torch.tensor([[2.0]] + [[1.0]] * 19)
        found = MultiLabelLoss()(logits, targets, weights) * 20 / 21
        copied = MultiLabelLoss()(torch.cat([logits, logits[:1]]), torch.cat([targets, targets[:1]]))
        torch.testing.assert_close(found, copied)

    def test_a_label_of_weight_0_does_not_count(self):
        logits, targets = spread()
        weights = (torch.arange(targets.numel()) % 3 > 0).float().reshape(targets.shape)
        found = MultiLabelLoss()(logits, targets, weights) * weights.numel()
        rest = MultiLabelLoss()(logits[weights > 0], targets[weights > 0]) * weights.sum()
        torch.testing.assert_close(found, rest)
        unknown = torch.where(weights > 0, targets, torch.nan)
        torch.testing.assert_close(MultiLabelLoss()(logits, unknown), rest / weights.sum())


@pytest.mark.parametrize("name", ["bce", "focal", "asymmetric"])
class TestEveryLoss:
    @pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
    def test_extreme_logits_have_finite_losses_and_gradients(self, name, gamma):
        logits = torch.tensor([[200.0, -200.0, 200.0, -200.0, 0.0]], requires_grad=True)
        names = {"bce": (), "focal": ("gamma",), "asymmetric": ("gamma_negative", "gamma_positive")}[name]
        loss_fn = MultiLabelLoss(name, **dict.fromkeys(names, gamma))
        loss = loss_fn(logits, torch.tensor([[1.0, 0.0, 0.0, 1.0, 1.0]]))
        loss.backward()
        assert torch.isfinite(loss)
        assert torch.isfinite(logits.grad).all()

    def test_gradient_descent_moves_logits_towards_targets(self, name):
        logits, targets = spread()
        logits.requires_grad_()
        MultiLabelLoss(name)(logits, targets).backward()
        direction = -logits.grad * (2 * targets - 1)
        assert (direction >= 0).all()
        assert (direction > 0).float().mean() > 0.5


class TestPositiveWeights:
    def test_balanced_weights_equal_those_of_negatives(self):
        np.testing.assert_allclose(positive_weights("balanced", np.array([10, 50, 80]), 100), [9, 1, 0.25])

    def test_effective_numbers(self):
        positives, rows = np.array([1, 10, 100]), 1000
        beta = (rows - 1) / rows
        # (1 - beta^n) / (1 - beta) is the sum of the first n powers of beta.
        effective = np.array([sum(beta**i for i in range(n)) for n in positives])
        found = positive_weights("effective", positives, rows)
        np.testing.assert_allclose(found, (1 / effective) / (1 / effective).mean(), rtol=1e-5)

    def test_none_and_bounds(self):
        assert positive_weights("none", np.array([1]), 10) is None
        np.testing.assert_allclose(positive_weights("balanced", np.array([0, 1, 10**6]), 10**6), [100, 100, 0.01])

    def test_unknown_names(self):
        with pytest.raises(ValueError, match="class_weights = 'heavy': expected one of none, balanced, effective"):
            positive_weights("heavy", np.array([1]), 10)
        with pytest.raises(ValueError, match="loss = 'hinge': expected one of bce, focal, asymmetric"):
            MultiLabelLoss("hinge")
        with pytest.raises(ValueError, match="label_smoothing = 1"):
            MultiLabelLoss(label_smoothing=1.0)

    @pytest.mark.parametrize(("name", "option"), [("asymmetric", "gamma"), ("bce", "gamma"), ("focal", "clip")])
    def test_parameters_of_other_losses_are_refused(self, name, option):
        with pytest.raises(ValueError, match=f"The loss '{name}' has no parameter '{option}'; it has: "):
            MultiLabelLoss(name, **{option: 1.0})
