import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from eno.errors import TrainingError
from eno.training.trainer import predict, track_logits, train_one_epoch, validate

LOSS = nn.BCEWithLogitsLoss()


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 16), nn.ReLU(), nn.Dropout(0.5), nn.Linear(16, 2))


def toy(rows=50):
    """Features [shape=(rows, 1, 3, 4)]: the signs of the first two values are the labels."""
    x = torch.randn(rows, 1, 3, 4, generator=torch.Generator().manual_seed(1))
    return TensorDataset(x, (x[:, 0, 0, :2] > 0).float())


class Recorder(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.modes, self.inputs = [], []

    def forward(self, x):
        self.modes.append(self.training)
        self.inputs.append(x.detach().clone())
        return self.scale * x.flatten(1)[:, :2]


class TestTraining:
    def test_the_loss_falls(self, model):
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        loader = DataLoader(toy(), batch_size=8)
        before = validate(model, loader, LOSS, "cpu")
        losses = [train_one_epoch(model, loader, optimizer, LOSS, "cpu") for _ in range(60)]
        assert losses[-1] < 0.6 * losses[0]
        assert validate(model, loader, LOSS, "cpu") < 0.3 * before

    def test_the_loss_is_a_mean_over_rows_not_batches(self, model):
        data = toy(10)
        frozen = torch.optim.SGD(model.parameters(), lr=0.0)
        model[3].p = 0.0  # no dropout in training either
        whole = LOSS(model(data.tensors[0]), data.tensors[1]).item()
        for batch_size in (3, 4, 10):
            loader = DataLoader(data, batch_size=batch_size)
            assert train_one_epoch(model, loader, frozen, LOSS, "cpu") == pytest.approx(whole, rel=1e-6)
            assert validate(model, loader, LOSS, "cpu") == pytest.approx(whole, rel=1e-6)

    def test_training_and_evaluation_mode(self):
        model = Recorder()
        loader = DataLoader(toy(4), batch_size=4)
        train_one_epoch(model, loader, torch.optim.SGD(model.parameters(), lr=0.1), LOSS, "cpu")
        validate(model, loader, LOSS, "cpu")
        predict(model, loader, "cpu")
        assert model.modes == [True, False, False]

    def test_validation_changes_no_weights(self, model):
        before = {name: value.clone() for name, value in model.state_dict().items()}
        validate(model, DataLoader(toy(), batch_size=8), LOSS, "cpu")
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        assert all(value.grad is None for value in model.parameters())

    def test_the_scheduler_steps_with_every_batch(self, model):
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
        steps = []
        train_one_epoch(
            model, DataLoader(toy(10), batch_size=4), optimizer, LOSS, "cpu", scheduler=scheduler, on_step=steps.append
        )
        assert steps == [1, 2, 3]
        assert optimizer.param_groups[0]["lr"] == 0.125

    def test_the_loss_of_no_batches_is_nan(self, model):
        assert math.isnan(train_one_epoch(model, [], torch.optim.SGD(model.parameters(), lr=0.1), LOSS, "cpu"))
        assert math.isnan(validate(model, [], LOSS, "cpu"))


class TestNotANumber:
    def test_high_learning_rate(self, model):
        optimizer = torch.optim.SGD(model.parameters(), lr=1e30)
        with pytest.raises(TrainingError, match=r"at batch \d+\. Lower the learning rate \(now 1e\+30\)"):
            for _ in range(5):
                train_one_epoch(model, DataLoader(toy(), batch_size=8), optimizer, LOSS, "cpu")

    def test_bad_data(self, model):
        data = toy()
        data.tensors[0][20, 0, 1, 1] = torch.nan
        loader = DataLoader(data, batch_size=8)
        before = [value.clone() for value in model.parameters()]
        with pytest.raises(TrainingError, match="at batch 3 because its features contain values that are not finite"):
            train_one_epoch(model, loader, torch.optim.SGD(model.parameters(), lr=0.0), LOSS, "cpu")
        with pytest.raises(TrainingError, match="at batch 3 because its features"):
            validate(model, loader, LOSS, "cpu")
        assert all(torch.equal(one, other) for one, other in zip(before, model.parameters(), strict=True))


class TestMixup:
    def run(self, alpha, seed=0):
        model = Recorder()
        targets = []

        def loss_fn(logits, labels):
            targets.append(labels)
            return LOSS(logits, labels)

        loader = [(torch.eye(8).reshape(8, 1, 2, 4), torch.eye(8)[:, :2])] * 20
        optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
        rng = np.random.default_rng(seed)
        train_one_epoch(model, loader, optimizer, loss_fn, "cpu", mixup=alpha, rng=rng)
        return torch.stack(model.inputs).flatten(2), torch.stack(targets)

    def test_pairs_of_features_and_labels_are_mixed_with_one_weight_per_batch(self):
        mixed, labels = self.run(0.4)
        torch.testing.assert_close(mixed.sum(dim=2), torch.ones(20, 8))
        assert ((mixed > 0).sum(dim=2) <= 2).all()  # the row itself and at most one other
        torch.testing.assert_close(labels, mixed[..., :2])  # the labels are the first features
        shares = mixed.diagonal(dim1=1, dim2=2)
        of_batch = [{round(share, 5) for share in row if share < 0.99999} for row in shares.tolist()]
        assert all(len(different) <= 1 for different in of_batch)
        assert len(set.union(*of_batch)) > 10

    def test_weights_follow_the_beta_distribution(self):
        rng = np.random.default_rng(3)
        expected = []
        for _ in range(20):
            expected.append(rng.beta(0.4, 0.4))
            rng.permutation(8)
        found = [row[row < 0.99999][0].item() for row in self.run(0.4, seed=3)[0].diagonal(dim1=1, dim2=2)]
        np.testing.assert_allclose(found, expected, rtol=1e-4)

    def test_is_off_by_default(self):
        mixed, _ = self.run(0.0)
        torch.testing.assert_close(mixed, torch.eye(8).expand(20, 8, 8))


class TestWindows:
    def test_the_probability_of_a_track_is_the_mean_over_its_windows(self, model):
        model.eval()
        windows = torch.randn(5, 3, 1, 3, 4)
        each = torch.stack([torch.sigmoid(model(windows[:, i])) for i in range(3)]).mean(dim=0)
        torch.testing.assert_close(torch.sigmoid(track_logits(model, windows)), each)

    def test_the_batch_size_does_not_matter(self, model):
        data = TensorDataset(torch.randn(7, 3, 1, 3, 4), torch.zeros(7, 2))
        alone, together = (predict(model, DataLoader(data, batch_size=size), "cpu") for size in (1, 7))
        np.testing.assert_allclose(alone, together, rtol=1e-5)
        assert alone.dtype == np.float32

    def test_saturated_windows_have_a_finite_loss(self, model):
        features = torch.full((2, 3, 1, 3, 4), 1e6)
        loss = validate(model, [(features, torch.tensor([[0.0, 1.0], [1.0, 0.0]]))], LOSS, "cpu")
        assert math.isfinite(loss)

    def test_every_batch_is_passed_to_the_callback(self, model):
        batches = []
        validate(model, DataLoader(toy(10), batch_size=4), LOSS, "cpu", on_batch=lambda *both: batches.append(both))
        assert [len(logits) for logits, _ in batches] == [4, 4, 2]
        torch.testing.assert_close(torch.cat([labels for _, labels in batches]), toy(10).tensors[1])
