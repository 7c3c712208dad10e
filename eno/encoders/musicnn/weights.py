"""Read the published weights of musicnn from the wheel, without TensorFlow.

A checkpoint's data file contains all variables, Adam's moments included, as little-endian float32 in the order of their
names. As names and shapes are known, NumPy can read it.
"""

from __future__ import annotations

import hashlib
import math
import zipfile
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from eno.encoders.wheels import fetch_wheel
from eno.errors import WeightsError
from eno.files import cache_folder, replace_file

_REQUIREMENT = "musicnn==0.1.0"
_WHEEL = "musicnn-0.1.0-py3-none-any.whl"
_WHEEL_SHA256 = "f38a4890c648c1ddbb141c5d96d2b0a8cfcd36746002d896989f7b88beb65cfa"
_MEMBERS = {name: f"musicnn/{name.upper()}_musicnn/.data-00000-of-00001" for name in ("mtt", "msd")}

# In the order of the network's outputs.
TAGS: dict[str, tuple[str, ...]] = {
    "mtt": (
        "guitar", "classical", "slow", "techno", "strings", "drums", "electronic", "rock", "fast", "piano",
        "ambient", "beat", "violin", "vocal", "synth", "female", "indian", "opera", "male", "singing",
        "vocals", "no vocals", "harpsichord", "loud", "quiet", "flute", "woman", "male vocal", "no vocal",
        "pop", "soft", "sitar", "solo", "man", "classic", "choir", "voice", "new age", "dance", "male voice",
        "female vocal", "beats", "harp", "cello", "no voice", "weird", "country", "metal", "female voice",
        "choral",
    ),
    "msd": (
        "rock", "pop", "alternative", "indie", "electronic", "female vocalists", "dance", "00s",
        "alternative rock", "jazz", "beautiful", "metal", "chillout", "male vocalists", "classic rock", "soul",
        "indie rock", "Mellow", "electronica", "80s", "folk", "90s", "chill", "instrumental", "punk", "oldies",
        "blues", "hard rock", "ambient", "acoustic", "experimental", "female vocalist", "guitar", "Hip-Hop",
        "70s", "party", "country", "easy listening", "sexy", "catchy", "funk", "electro", "heavy metal",
        "Progressive rock", "60s", "rnb", "indie pop", "sad", "House", "happy",
    ),
}  # fmt: skip
"""The 50 tags of each checkpoint."""

GENRES: dict[str, frozenset[str]] = {
    "mtt": frozenset(
        {"ambient", "classic", "classical", "country", "dance", "electronic", "indian", "metal", "new age",
         "opera", "pop", "rock", "techno"}
    ),
    "msd": frozenset(
        {"Hip-Hop", "House", "Progressive rock", "alternative", "alternative rock", "ambient", "blues",
         "classic rock", "country", "dance", "easy listening", "electro", "electronic", "electronica",
         "experimental", "folk", "funk", "hard rock", "heavy metal", "indie", "indie pop", "indie rock",
         "jazz", "metal", "pop", "punk", "rnb", "rock", "soul"}
    ),
}  # fmt: skip
"""The tags that name a genre; all others count as descriptors. This is eno's choice, not the authors'."""


def _variables() -> dict[str, tuple[int, ...]]:
    """Return names and shapes of all 150 variables of a checkpoint, in file order."""
    kernels = {
        "conv2d": (7, 38, 1, 204),
        "conv2d_1": (7, 67, 1, 204),
        "conv2d_2": (128, 1, 1, 51),
        "conv2d_3": (64, 1, 1, 51),
        "conv2d_4": (32, 1, 1, 51),
        "conv2d_5": (7, 561, 1, 64),
        "conv2d_6": (7, 64, 1, 64),
        "conv2d_7": (7, 64, 1, 64),
        "dense": (1506, 200),
        "dense_1": (200, 50),
    }
    norms = [1, 204, 204, 51, 51, 51, 64, 64, 64, 1506, 200]
    trained: dict[str, tuple[int, ...]] = {}
    fixed: dict[str, tuple[int, ...]] = {"beta1_power": (), "beta2_power": ()}
    for name, shape in kernels.items():
        trained |= {f"{name}/kernel": shape, f"{name}/bias": shape[-1:]}
    for index, channels in enumerate(norms):
        name = f"batch_normalization_{index}" if index else "batch_normalization"
        trained |= {f"{name}/gamma": (channels,), f"{name}/beta": (channels,)}
        fixed |= {f"{name}/moving_mean": (channels,), f"{name}/moving_variance": (channels,)}
    moments = {f"{name}/{slot}": shape for name, shape in trained.items() for slot in ("Adam", "Adam_1")}
    return dict(sorted((trained | fixed | moments).items()))


def read_checkpoint(data: bytes) -> dict[str, np.ndarray]:
    """Read the network's float32 variables from the content of ``.data-00000-of-00001``, by published name.

    Raises
    ------
    WeightsError
        The size is not that of all variables together.
    """
    variables = _variables()
    values = np.frombuffer(data, dtype="<f4") if len(data) % 4 == 0 else np.zeros(0, "<f4")
    expected = sum(math.prod(shape) for shape in variables.values())
    if len(values) != expected:
        raise WeightsError(f"The musicnn checkpoint has {len(data)} bytes; expected {4 * expected}.")
    weights, offset = {}, 0
    for name, shape in variables.items():
        size = math.prod(shape)
        if not name.endswith(("/Adam", "/Adam_1", "_power")):
            weights[name] = values[offset : offset + size].reshape(shape).astype(np.float32)
        offset += size
    return weights


def load_weights(name: str) -> tuple[dict[str, torch.Tensor], str]:
    """Load the checkpoint "mtt" or "msd"; the first call downloads it and converts it to safetensors.

    Returns
    -------
    weights : dict of str to torch.Tensor
        Variables under their published names.
    sha256 : str
        Hash of the published data file.

    Raises
    ------
    WeightsError
        The wheel cannot be downloaded, or the converted file is damaged.
    """
    converted = cache_folder() / "weights" / f"musicnn-0.1.0-{name}.safetensors"
    if not converted.exists():
        _convert(fetch_wheel(_REQUIREMENT, _WHEEL, _WHEEL_SHA256), name, converted)
    try:
        with safe_open(converted, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata()["source_sha256"]  # noqa: SIM118
    except (SafetensorError, KeyError, TypeError) as error:
        raise WeightsError(f"{converted}: is damaged ({error}). Delete it; the next run converts it again.") from error


def _convert(wheel: Path, name: str, destination: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        data = archive.read(_MEMBERS[name])
    destination.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(destination) as temporary:
        save_file(read_checkpoint(data), temporary, metadata={"source_sha256": hashlib.sha256(data).hexdigest()})
