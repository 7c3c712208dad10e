"""Model cards: sizes and licences of the known checkpoints, and whether their weights are on this machine."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import try_to_load_from_cache

from eno.files import cache_folder


@dataclass(frozen=True)
class Card:
    """A checkpoint of an encoder.

    Attributes
    ----------
    encoder : str
        Name for `eno.encoders.load_encoder`.
    model : str
        The checkpoint, as in the encoder's option; empty if there are no weights.
    layers, dim : int
        Vectors per window and values per vector by default; `dim` is 0 if it depends on the labels.
    megabytes : int
        Size of the weights; 0 if unknown.
    code, weights : str
        Licences of the code and of the weights, as their authors state them.
    commercial : bool or None
        Whether the weights may be used commercially; None if not stated.
    """

    encoder: str
    model: str
    sample_rate: int
    window_s: float
    layers: int
    dim: int
    megabytes: int
    code: str
    weights: str
    commercial: bool | None = True
    note: str = ""


CARDS = (
    Card("musicnn", "mtt", 16_000, 3.0, 1, 200, 3, "Apache-2.0", "ISC", note="50 tags of MagnaTagATune"),
    Card("musicnn", "msd", 16_000, 3.0, 1, 200, 3, "Apache-2.0", "ISC", note="50 tags of the Million Song Dataset"),
    Card(
        "clap", "laion/larger_clap_general", 48_000, 10.0, 1, 512, 776, "Apache-2.0", "Apache-2.0",
        note="default for clap; takes text",
    ),
    Card("clap", "laion/clap-htsat-unfused", 48_000, 10.0, 1, 512, 614, "Apache-2.0", "Apache-2.0", note="takes text"),
    Card(
        "clap", "laion/larger_clap_music", 48_000, 10.0, 1, 512, 776, "Apache-2.0", "Apache-2.0",
        note="text tower collapsed: only with output = 'pooled'",
    ),
    Card(
        "laion", "music_audioset_epoch_15_esc_90.14.pt", 48_000, 10.0, 1, 512, 0, "CC0-1.0", "not stated",
        commercial=None, note="takes text; better converted for 'clap'",
    ),
    Card("mert", "m-a-p/MERT-v1-95M", 24_000, 5.0, 4, 768, 378, "Apache-2.0", "CC BY-NC 4.0", commercial=False),
    Card("mert", "m-a-p/MERT-v1-330M", 24_000, 5.0, 4, 1024, 1262, "Apache-2.0", "CC BY-NC 4.0", commercial=False),
    Card("stats", "", 22_050, 10.0, 1, 119, 0, "ISC", "none", note="no weights; the baseline of every comparison"),
    Card("simple_cnn", "best_model.pt", 16_000, 3.0, 1, 0, 0, "Apache-2.0", "yours", note="made by scripts/train.py"),
)  # fmt: skip
"""The checkpoints that eno knows by name; for others, run as ``hf:<model>``, see their own cards."""


def is_present(encoder: str, model: str) -> bool:
    """Return whether the weights of a checkpoint are on this machine."""
    if encoder == "stats":
        return True
    if encoder == "musicnn":
        return (cache_folder() / "weights" / f"musicnn-0.1.0-{model}.safetensors").is_file()
    if encoder == "laion":
        return importlib.util.find_spec("laion_clap") is not None and Path(model).expanduser().is_file()
    if encoder == "simple_cnn":
        return Path(model).expanduser().is_file()
    if Path(model).expanduser().is_dir():
        return True
    # Not a path means an id on the hub: "owner/name".
    if model.count("/") != 1 or model.startswith((".", "/", "~")):
        return False
    names = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
    return any(isinstance(try_to_load_from_cache(model, name), str) for name in names)
