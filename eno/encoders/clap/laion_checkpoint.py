"""Read checkpoints of laion_clap without running code, and convert them to the format of transformers.

The layout is that of the package laion-clap 1.1.7, and tests compare the conversion with its networks. Every tensor of
a checkpoint is either mapped or known not to affect the embeddings.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy._core.multiarray import scalar as numpy_scalar
from safetensors.torch import save_file
from transformers import AutoTokenizer, ClapConfig

from eno.encoders.checkpoints import PREPROCESSOR, WEIGHTS, read_pickled
from eno.encoders.clap.front_end import ClapLogMel
from eno.errors import WeightsError, first_line
from eno.files import replace_file, write_json

# Checkpoints also contain the epoch and scores as NumPy scalars, whose constructor moved in NumPy 2.
_NUMPY_SCALARS: tuple[Any, ...] = (
    (numpy_scalar, "numpy.core.multiarray.scalar"),
    (numpy_scalar, "numpy._core.multiarray.scalar"),
    np.dtype,
    *{type(np.dtype(code)) for code in "?bBhHiIlLqQefd"},
)

_PREPROCESSOR = {
    "feature_extractor_type": "ClapFeatureExtractor",
    "processor_class": "ClapProcessor",
    "sampling_rate": 48_000,
    "fft_window_size": 1024,
    "hop_length": 480,
    "feature_size": 64,
    "frequency_min": 50,
    "frequency_max": 14_000,
    "max_length_s": 10,
    "truncation": "rand_trunc",
    "padding": "repeatpad",
    "padding_value": 0.0,
    "padding_side": "right",
    "return_attention_mask": False,
}
"""The same for all of laion_clap's HTSAT models."""

# Tensors that do not affect the embeddings: classifiers, extra layers of the training loss, and constants of the
# architecture.
_UNUSED = re.compile(
    r"audio_branch\.(tscam_conv|head)\.|(audio|text)_transform\."
    r"|audio_branch\.layers\.\d+\.blocks\.\d+\.attn_mask$"
    r"|audio_branch\.spectrogram_extractor\.|audio_branch\.logmel_extractor\."
    r"|text_branch\.embeddings\.(position_ids|token_type_ids)$"
)
_ROUNDING = 2.0**-7  # of weights that were saved as bfloat16
_FUSION = re.compile(
    r"audio_branch\.patch_embed\.(mel_conv2d|fusion_model)\.|audio_branch\.(mel_conv1d|fusion_model)\."
)
_RENAMED = (
    (r"^audio_branch\.bn0\.", "audio_model.audio_encoder.batch_norm."),
    (r"^audio_branch\.", "audio_model.audio_encoder."),
    (r"^text_branch\.", "text_model."),
    (r"^(audio|text)_projection\.0\.", r"\1_projection.linear1."),
    (r"^(audio|text)_projection\.2\.", r"\1_projection.linear2."),
    (r"(blocks\.\d+)\.norm1\.", r"\1.layernorm_before."),
    (r"(blocks\.\d+)\.norm2\.", r"\1.layernorm_after."),
    (r"(blocks\.\d+)\.attn\.proj\.", r"\1.attention.output.dense."),
    (r"(blocks\.\d+)\.attn\.", r"\1.attention.self."),
    (r"(blocks\.\d+)\.mlp\.fc1\.", r"\1.intermediate.dense."),
    (r"(blocks\.\d+)\.mlp\.fc2\.", r"\1.output.dense."),
)


def read_laion_checkpoint(path: Path) -> dict[str, torch.Tensor]:
    """Return the weights in a ``.pt`` file of laion_clap under their names there, without ``module.``.

    Raises
    ------
    WeightsError
        It is missing or damaged, contains Python objects other than tensors and NumPy scalars, is not a CLAP, or uses
        feature fusion.
    """
    content = read_pickled(path, _NUMPY_SCALARS)
    weights = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(weights, dict) or not all(torch.is_tensor(value) for value in weights.values()):
        raise WeightsError(f"{path}: is not a checkpoint of laion_clap: it has no dictionary of weights.")
    weights = {
        name.removeprefix("module."): value.float() if value.is_floating_point() else value
        for name, value in weights.items()
    }
    for name in (
        "audio_branch.patch_embed.proj.weight",
        "text_branch.pooler.dense.weight",
        "audio_projection.0.weight",
    ):
        if name not in weights:
            raise WeightsError(
                f"{path}: lacks {name}. Only checkpoints of laion_clap with HTSAT and RoBERTa are supported; for "
                "others, look for a version in the format of transformers."
            )
    if any(_FUSION.match(name) for name in weights):
        raise WeightsError(
            f"{path}: was trained with feature fusion, which is not supported because it uses random excerpts. Use one "
            "without 'fusion' in its name, such as 630k-audioset-best.pt or music_audioset_epoch_15_esc_90.14.pt."
        )
    return weights


def convert_laion(
    source: Path | str, target: Path | str, *, tokenizer: str | None = "roberta-base", text_heads: int | None = None
) -> ClapConfig:
    """Convert a checkpoint of laion_clap to the format of transformers, with safetensors.

    Parameters
    ----------
    source : Path or str
        The ``.pt`` file.
    target : Path or str
        Folder for ``config.json``, ``preprocessor_config.json``, ``model.safetensors`` and the tokenizer.
    tokenizer : str, optional
        Folder or hub id of RoBERTa's tokenizer, which laion_clap's checkpoints lack; None to omit it.
    text_heads : int, optional
        Attention heads of the text network, which cannot be read off the weights; by default its width divided by 64,
        as in RoBERTa.

    Raises
    ------
    WeightsError
        The file is refused (see `read_laion_checkpoint`) or has unknown tensors, or the tokenizer cannot be loaded.
        Nothing is written then.
    """
    source, target = Path(source), Path(target)
    weights = read_laion_checkpoint(source)
    _check_front_end(source, weights)
    config = _architecture(weights, text_heads)
    mapped = _map_names(source, weights)
    loaded = None if tokenizer is None else _load_tokenizer(tokenizer)
    target.mkdir(parents=True, exist_ok=True)
    if loaded is not None:
        loaded.save_pretrained(target)
    config.save_pretrained(target)
    write_json(target / PREPROCESSOR, _PREPROCESSOR)
    with replace_file(target / WEIGHTS) as temporary:
        save_file(mapped, temporary, metadata={"format": "pt"})
    return config


def _map_names(source: Path, weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    mapped = {}
    unknown = []
    for name, value in weights.items():
        if _UNUSED.match(name):
            continue
        if not name.startswith(
            ("audio_branch.", "text_branch.", "audio_projection.", "text_projection.", "logit_scale_")
        ):
            unknown.append(name)
            continue
        renamed = name
        for pattern, replacement in _RENAMED:
            renamed = re.sub(pattern, replacement, renamed)
        if ".attention.self.qkv." in renamed:
            for part, one in zip(("query", "key", "value"), value.chunk(3), strict=True):
                mapped[renamed.replace("qkv", part)] = one.clone()
        else:
            mapped[renamed] = value.contiguous()
    if unknown:
        raise WeightsError(f"{source}: has unknown tensors: {', '.join(sorted(unknown)[:5])}.")
    return mapped


def _architecture(weights: dict[str, torch.Tensor], text_heads: int | None) -> ClapConfig:
    """Derive the sizes of the network from its weights."""

    def shape(name: str) -> torch.Size:
        return weights[name].shape

    def count(pattern: str) -> int:
        return len({match[1] for name in weights if (match := re.match(pattern, name))})

    stages = range(count(r"audio_branch\.layers\.(\d+)\."))
    bias_table = "audio_branch.layers.{}.blocks.0.attn.relative_position_bias_table"
    width = shape("audio_branch.patch_embed.proj.weight")[0]
    joint = shape("audio_projection.2.weight")[0]
    words, text_width = shape("text_branch.embeddings.word_embeddings.weight")
    return ClapConfig(
        audio_config={
            "patch_embeds_hidden_size": width,
            "hidden_size": width * 2 ** (len(stages) - 1),
            "depths": [count(rf"audio_branch\.layers\.{i}\.blocks\.(\d+)\.") for i in stages],
            "num_attention_heads": [shape(bias_table.format(i))[1] for i in stages],
            "num_hidden_layers": len(stages),
            "window_size": (math.isqrt(shape(bias_table.format(0))[0]) + 1) // 2,
            "patch_size": shape("audio_branch.patch_embed.proj.weight")[2],
            "num_mel_bins": _PREPROCESSOR["feature_size"],
            "projection_dim": joint,
            "enable_fusion": False,
        },
        text_config={
            "vocab_size": words,
            "hidden_size": text_width,
            "num_hidden_layers": count(r"text_branch\.encoder\.layer\.(\d+)\."),
            "num_attention_heads": text_heads or max(1, text_width // 64),
            "intermediate_size": shape("text_branch.encoder.layer.0.intermediate.dense.weight")[0],
            "max_position_embeddings": shape("text_branch.embeddings.position_embeddings.weight")[0],
            "type_vocab_size": shape("text_branch.embeddings.token_type_embeddings.weight")[0],
            "layer_norm_eps": 1e-5,  # RoBERTa's; the default of ClapTextConfig is BERT's
            "projection_dim": joint,
        },
        projection_dim=joint,
        architectures=["ClapModel"],
    )


def _check_front_end(source: Path, weights: dict[str, torch.Tensor]) -> None:
    """Check that the mel filters stored in the checkpoint equal those that eno computes."""
    found = weights.get("audio_branch.logmel_extractor.melW")
    if found is None:
        return
    expected = ClapLogMel(_PREPROCESSOR).filters
    if found.shape != expected.shape or not torch.allclose(found, expected, atol=1e-6, rtol=_ROUNDING):
        raise WeightsError(
            f"{source}: was trained on other mel bands than laion_clap's HTSAT models, which is not supported."
        )


def _load_tokenizer(name: str) -> Any:
    try:
        return AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"{name}: RoBERTa's tokenizer cannot be loaded ({first_line(error)}). Specify a folder with its "
            "tokenizer.json, or its vocab.json and merges.txt: --tokenizer FOLDER. Or convert audio only: --no-text."
        ) from error
