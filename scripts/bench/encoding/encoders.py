"""Windows per second of every encoder, compared with the reference code on the models' cards.

The reference computes the features with transformers' extractor on the CPU and then runs the model; for stats it calls
librosa feature by feature. Both get the same windows in the same process and must return the same vectors. Weights are
random unless folders or hub ids are specified; they do not affect the speed.

Run it on an idle machine: ``python -m scripts.bench.encoding.encoders [--device cuda] [--only clap-base]``.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import torch
from transformers import AutoFeatureExtractor, ClapModel, ClapProcessor, HubertModel, Wav2Vec2FeatureExtractor
from transformers.utils.logging import disable_progress_bar

from eno.devices import resolve_device
from eno.encoders import Encoder, load_encoder
from eno.encoders.checkpoints import locate
from scripts.bench.encoding.timing import fastest
from tests.checkpoints import music, save_clap, save_mert

Reference = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Case:
    """An encoder of eno and its reference code."""

    encoder: Encoder
    reference: Reference


def clap_case(folder: Path, device: torch.device, dtype: str) -> Case:
    """CLAP with `ClapProcessor` and `ClapModel`."""
    encoder = load_encoder("clap", model=str(folder), device=str(device), dtype=dtype)
    extractor = ClapProcessor.from_pretrained(folder).feature_extractor
    model = ClapModel.from_pretrained(folder).to(device).eval()

    @torch.inference_mode()
    def reference(windows: np.ndarray) -> np.ndarray:
        inputs = extractor(list(windows), sampling_rate=48_000, return_tensors="pt").to(device)
        features = model.get_audio_features(input_features=inputs["input_features"].float())
        features = getattr(features, "pooler_output", features)
        return torch.nn.functional.normalize(features, dim=-1).cpu().numpy()[:, None]

    return Case(encoder, reference)


def mert_case(folder: Path, device: torch.device, dtype: str) -> Case:
    """MERT with `Wav2Vec2FeatureExtractor` and the model, and means of the same layers."""
    encoder: Any = load_encoder("mert", model=str(folder), device=str(device), dtype=dtype)
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(folder)
    model = HubertModel.from_pretrained(locate(str(folder)).folder, config=encoder._network.config).to(device).eval()
    layers = [int(name.split()[1]) for name in encoder.spec.layers]

    @torch.inference_mode()
    def reference(windows: np.ndarray) -> np.ndarray:
        inputs = extractor(list(windows), sampling_rate=24_000, return_tensors="pt")["input_values"].to(device)
        output = model(inputs, output_hidden_states=True)
        states = [*output.hidden_states[:-1], output.last_hidden_state]
        return torch.stack([states[layer].mean(dim=1) for layer in layers], dim=1).cpu().numpy()

    return Case(encoder, reference)


def hf_case(folder: str, device: torch.device, dtype: str) -> Case:
    """Any ``hf:`` model of waveforms with its own extractor."""
    encoder: Any = load_encoder(f"hf:{folder}", device=str(device), dtype=dtype)
    extractor = AutoFeatureExtractor.from_pretrained(folder)
    layers = [int(name.split()[1]) for name in encoder.spec.layers]

    @torch.inference_mode()
    def reference(windows: np.ndarray) -> np.ndarray:
        rate = extractor.sampling_rate
        inputs = extractor(list(windows), sampling_rate=rate, return_tensors="pt")["input_values"].to(device)
        output = encoder._network(inputs, output_hidden_states=True)
        states = [*output.hidden_states[:-1], output.last_hidden_state]
        return torch.stack([states[layer].mean(dim=1) for layer in layers], dim=1).cpu().numpy()

    return Case(encoder, reference)


def stats_case() -> Case:
    """Librosa's functions, each from the waveform."""

    def describe(window: np.ndarray) -> np.ndarray:
        common: dict[str, Any] = {"y": window, "sr": 22_050}
        tracks = np.concatenate(
            [
                librosa.feature.mfcc(**common, n_mfcc=20),
                librosa.feature.chroma_stft(**common, tuning=0.0),
                librosa.feature.spectral_contrast(**common),
            ]
        )
        librosa.feature.tempo(**common)
        change = np.abs(np.diff(tracks, axis=1)).mean(axis=1)
        return np.concatenate([tracks.mean(axis=1), tracks.std(axis=1), change])

    return Case(load_encoder("stats"), lambda windows: np.stack([describe(window) for window in windows])[:, None])


def front_end_share(encoder: Any, windows: np.ndarray, wait: Callable[[], object]) -> float:
    """Share of the time that the log-mel spectrogram of CLAP or musicnn takes."""
    audio = torch.from_numpy(windows).to(encoder.device)
    with torch.inference_mode():
        front_end, whole = fastest(lambda: encoder._front_end(audio), lambda: encoder.encode(windows), wait=wait)
    return front_end / whole


def measure(name: str, case: Case, batches: list[int], device: torch.device) -> None:
    """Print windows per second of eno and of the reference for all batch sizes."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    encoder: Any = case.encoder
    spec = encoder.spec
    print(f"{name}: {spec.window_s:g} s windows, {len(spec.layers)} x {spec.dim}")
    for batch in batches:
        windows = music(spec.window_samples, spec.sample_rate, count=min(batch, 32))
        windows = np.resize(windows, (batch, spec.window_samples))
        if hasattr(encoder, "batch_size") and device.type == "cuda":
            encoder.batch_size = batch
        ours, theirs = encoder.encode(windows), case.reference(windows)
        common = min(ours.shape[-1], theirs.shape[-1])
        difference = np.abs(ours[..., :common] - theirs[..., :common]).max() / np.abs(theirs).max()
        fast, slow = fastest(partial(encoder.encode, windows), partial(case.reference, windows), wait=wait)
        print(
            f"  batch {batch:>3}: eno {batch / fast:7.2f} windows/s, reference {batch / slow:7.2f}: "
            f"{slow / fast:5.2f} times as fast; maximum difference {difference:.1e} of the maximum value"
        )
    if hasattr(encoder, "_front_end"):
        print(f"  front end: {100 * front_end_share(encoder, windows, wait):.1f} % of the time")


def main() -> None:
    """Measure the chosen encoders and print the peak memory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto", help="for eno; the reference computes in float32")
    parser.add_argument("--batches", type=int, nargs="+", help="default: 1 8 32, and 128 256 on a GPU")
    parser.add_argument("--only", nargs="+", default=["clap-tiny", "clap-base", "mert-95M", "mert-330M", "stats"])
    parser.add_argument("--hf", nargs="*", default=[], help="folders or ids of other models of waveforms")
    arguments = parser.parse_args()
    device = resolve_device(arguments.device)
    disable_progress_bar()
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else "no GPU"
    print(f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads, {gpu}, dtype {arguments.dtype}")
    batches = arguments.batches or ([1, 8, 32, 128, 256] if device.type == "cuda" else [1, 8, 32])
    with tempfile.TemporaryDirectory() as root:
        for name in [*arguments.only, *arguments.hf]:
            kind, _, size = name.partition("-")
            if name in arguments.hf:
                case = hf_case(name, device, arguments.dtype)
            elif kind == "clap":
                case = clap_case(save_clap(Path(root) / name, size), device, arguments.dtype)
            elif kind == "mert":
                case = mert_case(save_mert(Path(root) / name, size), device, arguments.dtype)
            else:
                case = stats_case()
            measure(name, case, batches, device)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")
    if device.type == "cuda":
        print(f"peak GPU memory {torch.cuda.max_memory_allocated() / 2**20:.0f} MiB")


if __name__ == "__main__":
    main()
