"""Speed of eno's musicnn compared with the straightforward implementation.

The network is compared with its layers in the order of the paper (convolution, ReLU, normalisation, maximum), which
must return the same values; decoding eight windows of a file is compared with decoding and resampling the whole file.

Run it on an idle machine: ``python -m scripts.bench.encoding.musicnn [--threads N]``.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from torch.nn.functional import pad

from eno.audio.reading import read_windows
from eno.audio.windows import WindowPolicy
from eno.encoders.musicnn.encoder import WINDOW_SAMPLES, MusiCNN
from eno.encoders.musicnn.network import LogMel, MusicnnNetwork
from eno.encoders.musicnn.weights import load_weights
from scripts.bench.encoding.timing import fastest

WINDOWS = 8


def plain_network(weights: dict[str, torch.Tensor], patches: torch.Tensor) -> torch.Tensor:
    """Compute the penultimate features with all layers in the published order."""

    def norm(x: torch.Tensor, index: int) -> torch.Tensor:
        name = f"batch_normalization_{index}" if index else "batch_normalization"
        mean, variance, scale, shift = (
            weights[f"{name}/{part}"] for part in ("moving_mean", "moving_variance", "gamma", "beta")
        )
        return torch.batch_norm(x, scale, shift, mean, variance, False, 0.0, 1e-3, False)

    def convolve(x: torch.Tensor, index: int, padding: tuple[int, int]) -> torch.Tensor:
        name = f"conv2d_{index}" if index else "conv2d"
        kernel = weights[f"{name}/kernel"].permute(3, 2, 0, 1)
        return norm(torch.relu(torch.conv2d(pad(x, (0, 0, *padding)), kernel, weights[f"{name}/bias"])), index + 1)

    image = norm(patches.unsqueeze(1), 0)
    front = [convolve(image, i, (3, 3)).amax(dim=3) for i in (0, 1)]
    front += [convolve(image, i, ((k - 1) // 2, k // 2)).amax(dim=3) for i, k in ((2, 128), (3, 64), (4, 32))]
    channels = [torch.cat(front, dim=1)]
    for index in (5, 6, 7):
        image = channels[-1].transpose(1, 2).unsqueeze(1)
        response = convolve(image, index, (3, 3)).squeeze(3)
        channels.append(response if index == 5 else response + channels[-1])
    everything = torch.cat(channels, dim=1)
    pooled = torch.stack([everything.amax(dim=2), everything.mean(dim=2)], dim=2).flatten(1)
    hidden = torch.relu(norm(pooled, 9) @ weights["dense/kernel"] + weights["dense/bias"])
    return norm(hidden, 10)


def bench_network(windows: np.ndarray) -> None:
    """Print the time of both networks for eight windows."""
    weights, _ = load_weights("msd")
    encoder, front_end, network = MusiCNN(checkpoint="msd"), LogMel(), MusicnnNetwork(weights).eval()
    with torch.inference_mode():
        patches = front_end(torch.from_numpy(windows))
        difference = (plain_network(weights, patches) - network(patches).penultimate).abs().max().item()
        plain, ours = fastest(
            lambda: plain_network(weights, front_end(torch.from_numpy(windows))), lambda: encoder.encode(windows)
        )
    print(f"network, {WINDOWS} windows: plain {plain:.3f} s, eno {ours:.3f} s: {plain / ours:.1f} times as fast")
    print(f"  maximum difference of the penultimate features {difference:.1e}")


def bench_decoding(folder: Path, minutes: float = 4.0) -> None:
    """Print the time to decode eight windows of a long file, and all of it."""
    rate = 44_100
    noise = np.random.default_rng(0).standard_normal((rate, 2)).astype(np.float32) * 0.1
    for suffix, subtype in ((".flac", "PCM_16"), (".mp3", "MPEG_LAYER_III"), (".ogg", "VORBIS")):
        path = folder / f"long{suffix}"
        with soundfile.SoundFile(path, "w", rate, 2, subtype) as file:
            for _ in range(round(minutes * 60)):
                file.write(noise)

        def whole(path: Path = path) -> None:
            samples, _ = soundfile.read(path, dtype="float32")
            soxr.resample(samples.mean(axis=1), rate, 16_000)

        def spans(path: Path = path) -> None:
            read_windows(path, sample_rate=16_000, window_samples=WINDOW_SAMPLES, policy=WindowPolicy(count=WINDOWS))

        all_s, spans_s = fastest(whole, spans)
        ratio = all_s / spans_s
        print(
            f"decoding {minutes:.0f} min of {suffix}: all {all_s:.3f} s, eno {spans_s:.3f} s: {ratio:.1f} times as fast"
        )


def main() -> None:
    """Run both and print the peak memory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    torch.set_num_threads(parser.parse_args().threads)
    print(f"{torch.get_num_threads()} threads, PyTorch {torch.__version__}")
    windows = 0.1 * np.random.default_rng(0).standard_normal((WINDOWS, WINDOW_SAMPLES)).astype(np.float32)
    bench_network(windows)
    with tempfile.TemporaryDirectory() as folder:
        bench_decoding(Path(folder))
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
