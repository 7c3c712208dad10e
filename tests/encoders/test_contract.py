"""The contract of every encoder (`eno.testing.check_encoder`), and its half precision."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from eno.encoders import ENCODERS, load_encoder
from eno.testing import ENCODER_CHECKS
from tests.checkpoints import music, save_simple_cnn
from tests.encoders.conftest import FAMILIES, edit_json

CASES = (
    "musicnn", "musicnn both", "clap", "clap pooled", "clap fused", "mert 95m", "mert 330m", "stats", "simple_cnn",
    *(f"hf {family}" for family in FAMILIES),
)  # fmt: skip


@pytest.fixture(scope="module", params=CASES)
def arguments(request, small_clap, fused_clap, small_mert, small_models, tmp_path_factory):
    name, _, variant = request.param.partition(" ")
    options = {
        "musicnn": {"checkpoint": variant or "msd"},
        "clap": {
            "model": str(fused_clap if variant == "fused" else small_clap),
            "output": "pooled" if variant == "pooled" else "projection",
        },
        "mert": {"model": str(small_mert.get(variant)), "window_s": 1.0},
        "stats": {},
        "simple_cnn": {"model": str(tmp_path_factory.getbasetemp() / "best_model.pt"), "window_s": 1.0},
        "hf": {"model": str(small_models / variant)} | ({"window_s": 1.0} if variant not in ("ast", "whisper") else {}),
    }[name]
    if name == "simple_cnn":
        save_simple_cnn(Path(options["model"]))
    return name, options


@pytest.fixture(scope="module")
def encoder(arguments):
    name, options = arguments
    return load_encoder(name, device="cpu", **options)


def test_every_encoder_is_covered():
    # laion needs its package: test_laion.py, which has it, tests the same.
    assert {case.partition(" ")[0] for case in CASES} == set(ENCODERS) - {"laion"}


@pytest.mark.parametrize("check", ENCODER_CHECKS)
def test_contract(check, encoder):
    check(encoder)


def test_bfloat16_is_close_and_has_the_same_identity(arguments, encoder):
    name, options = arguments
    if name == "stats":
        pytest.skip("computes in NumPy")
    windows = music(encoder.spec.window_samples, encoder.spec.sample_rate, count=5)
    vectors = encoder.encode(windows)
    half = load_encoder(name, device="cpu", dtype="bfloat16", **options)
    assert half.spec == encoder.spec
    rounded = half.encode(windows)
    assert rounded.dtype == np.float32
    cosines = (rounded * vectors).sum(-1) / np.linalg.norm(rounded, axis=-1) / np.linalg.norm(vectors, axis=-1)
    assert cosines.min() > 0.99
    assert not np.array_equal(rounded, vectors)


def stored_as(model, target, precision, *, exactly):
    """Copy a checkpoint with its weights in half precision; if not `exactly`, with the same values in float32."""

    def convert(weights):
        rounded = {name: value.to(precision) if value.is_floating_point() else value for name, value in weights.items()}
        return rounded if exactly else {name: value.float() for name, value in rounded.items()}

    if model.is_file():
        torch.save(convert(torch.load(model)), target)
        return target
    shutil.copytree(model, target)
    for path in target.glob("*.safetensors"):
        save_file(convert(load_file(path)), path, metadata={"format": "pt"})
    for path in target.glob("*.bin"):
        torch.save(convert(torch.load(path)), path)
    name = str(precision if exactly else torch.float32).removeprefix("torch.")
    edit_json(target / "config.json", dtype=name, torch_dtype=name)
    return target


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16], ids=str)
def test_weights_in_half_precision_are_used_as_they_are(arguments, precision, tmp_path):
    name, options = arguments
    if "model" not in options:
        pytest.skip("has one published checkpoint, in float32")
    model = Path(options["model"])
    half, whole = (stored_as(model, tmp_path / str(exactly), precision, exactly=exactly) for exactly in (True, False))
    options = {key: value for key, value in options.items() if key != "model"}
    for dtype in ("float32", "bfloat16"):
        of_half, of_whole = (
            load_encoder(name, device="cpu", dtype=dtype, model=str(path), **options) for path in (half, whole)
        )
        windows = music(of_half.spec.window_samples, of_half.spec.sample_rate, count=2)
        np.testing.assert_allclose(of_half.encode(windows), of_whole.encode(windows), rtol=1e-5, atol=1e-5)
        assert {value.dtype for value in of_half._network.state_dict().values() if value.is_floating_point()} == {
            torch.float32
        }
