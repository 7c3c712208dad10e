import torch
from torch import nn

from eno.cnn.network import SimpleCNN


class GuidesCNN(nn.Module):
    def __init__(self, num_labels):
        super().__init__()
        self.conv_layers = nn.Sequential(
            nn.Conv2d(1, 32, kernel_size=3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, kernel_size=3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(64, 128, kernel_size=3, padding=1), nn.BatchNorm2d(128), nn.ReLU(),
            nn.AdaptiveAvgPool2d((1, 1)),
        )  # fmt: skip
        self.classifier = nn.Sequential(
            nn.Flatten(), nn.Linear(128, 256), nn.ReLU(), nn.Dropout(0.5), nn.Linear(256, num_labels)
        )

    def forward(self, x):
        return self.classifier(self.conv_layers(x))


def test_equals_the_network_of_the_guide():
    torch.manual_seed(0)
    guides, ours = GuidesCNN(7), SimpleCNN(n_mels=128, num_labels=7)
    ours.load_state_dict(guides.state_dict())  # checkpoints are interchangeable
    x = torch.randn(3, 1, 128, 50)
    torch.manual_seed(1)
    expected = guides.train()(x)
    torch.manual_seed(1)
    torch.testing.assert_close(ours.train()(x), expected)
    torch.testing.assert_close(ours.eval()(x), guides.eval()(x))


def test_number_of_parameters():
    # Kernels and biases, then scale and shift of the batch norms, then the two linear layers.
    convolutions = (9 * 1 + 1) * 32 + (9 * 32 + 1) * 64 + (9 * 64 + 1) * 128
    norms = 2 * (32 + 64 + 128)
    layers = (128 + 1) * 256 + (256 + 1) * 50
    model = SimpleCNN(n_mels=128, num_labels=50)
    assert sum(value.numel() for value in model.parameters()) == convolutions + norms + layers


def test_any_number_of_frames_and_bands():
    model = SimpleCNN(n_mels=64, num_labels=5).eval()
    assert {model(torch.zeros(2, 1, 64, frames)).shape for frames in (4, 31, 200)} == {(2, 5)}
