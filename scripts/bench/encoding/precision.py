"""Difference between vectors in bfloat16 and in float32, for every encoder.

For windows of synthetic music or of files it prints the cosine similarity of both, the maximum difference relative to
the maximum value, and how often the nearest neighbour stays the same. musicnn has trained weights; the others have
random weights unless a model is specified, which shows the effect of the arithmetic only.

Run it with
``python -m scripts.bench.encoding.precision [--device cuda] [--model clap=laion/larger_clap_general] [FILES]``.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from transformers.utils.logging import disable_progress_bar

from eno.audio.reading import read_windows
from eno.audio.windows import WindowPolicy
from eno.encoders import load_encoder
from eno.spec import EncoderSpec
from tests.checkpoints import music, save_clap, save_mert


def cases(root: Path, models: dict[str, str]) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return encoders and their options by name of the row."""
    generated: dict[str, tuple[str, dict[str, Any]]] = {
        "musicnn mtt": ("musicnn", {"checkpoint": "mtt"}),
        "musicnn msd": ("musicnn", {"checkpoint": "msd"}),
    }
    named = {f"{encoder} {model}": (encoder, {"model": model}) for encoder, model in models.items()}
    for size in ("tiny", "base"):
        folder = str(save_clap(root / size, size))
        generated[f"clap {size}, random"] = ("clap", {"model": folder})
        generated[f"clap {size}, random, pooled"] = ("clap", {"model": folder, "output": "pooled"})
    for size in ("95M", "330M"):
        generated[f"mert {size}, random"] = ("mert", {"model": str(save_mert(root / size, size))})
    return generated | named


def windows_for(spec: EncoderSpec, files: list[str], count: int) -> np.ndarray:
    """Return windows of the files, or of synthetic music without files."""
    if not files:
        return music(spec.window_samples, spec.sample_rate, count=count)
    return np.concatenate(
        [
            read_windows(
                file,
                sample_rate=spec.sample_rate,
                window_samples=spec.window_samples,
                policy=WindowPolicy(count=4),
                padding=spec.padding,
            ).samples
            for file in files
        ]
    )


def nearest(vectors: np.ndarray) -> np.ndarray:
    """Return the index of each window's nearest neighbour by cosine similarity."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -2)
    best: np.ndarray = cosines.argmax(axis=1)
    return best


def main() -> None:
    """Print a row for each encoder and layer."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", help="audio files (default: synthetic music)")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--count", type=int, default=8, help="windows of synthetic music")
    parser.add_argument(
        "--model", nargs="*", default=[], metavar="ENCODER=MODEL", help="checkpoints with trained weights"
    )
    arguments = parser.parse_args()
    disable_progress_bar()
    print(f"{'encoder':<34}{'layer':<14}{'mean cosine':>12}{'minimum':>11}{'max. diff.':>14}{'same neighbour':>16}")
    with tempfile.TemporaryDirectory() as root:
        models = dict(one.split("=", 1) for one in arguments.model)
        for name, (encoder, options) in cases(Path(root), models).items():
            exact = load_encoder(encoder, device=arguments.device, dtype="float32", **options)
            half = load_encoder(encoder, device=arguments.device, dtype="bfloat16", **options)
            windows = windows_for(exact.spec, arguments.files, arguments.count)
            first, second = exact.encode(windows), half.encode(windows)
            for layer, label in enumerate(exact.spec.layers):
                a, b = first[:, layer], second[:, layer]
                cosines = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
                drift = np.abs(a - b).max() / np.abs(a).max()
                same = float(np.mean(nearest(a) == nearest(b)))
                print(f"{name:<34}{label:<14}{cosines.mean():>12.6f}{cosines.min():>11.6f}{drift:>14.1e}{same:>15.0%}")


if __name__ == "__main__":
    main()
