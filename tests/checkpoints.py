"""Checkpoints with random weights in the published architectures and formats."""

import json
import math
import sys
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, HubertConfig, HubertModel, RobertaConfig

from eno.cnn.network import SimpleCNN
from eno.testing.encoders import chords as music  # noqa: F401

CLAP_SIZES = {
    "nano": {
        "patch_embeds_hidden_size": 16, "hidden_size": 128, "depths": [2, 2, 2, 2], "num_attention_heads": [1, 2, 4, 8],
    },
    "tiny": {"patch_embeds_hidden_size": 96, "hidden_size": 768, "depths": [2, 2, 6, 2]},
    "base": {"patch_embeds_hidden_size": 128, "hidden_size": 1024, "depths": [2, 2, 12, 2]},
}  # fmt: skip
MERT_SIZES = {
    "95M": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
    "330M": {
        "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096,
        "do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True,
    },
}  # fmt: skip
NANO_TEXT = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "vocab_size": 512,
}
GOLDEN = Path(__file__).parent / "golden"
ROBERTA = {"type_vocab_size": 1, "max_position_embeddings": 514, "layer_norm_eps": 1e-5}


def save_tokenizer(folder: Path) -> None:
    """RoBERTa's kind of tokenizer, with single bytes in place of its learned words."""
    vocabulary = {token: i for i, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])}
    for byte in sorted(pre_tokenizers.ByteLevel.alphabet()):
        vocabulary[byte] = len(vocabulary)
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    special = {
        "bos_token": "<s>",
        "eos_token": "</s>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "mask_token": "<mask>",
    }
    content = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 512, **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(content))


def spread_weights(network: torch.nn.Module, seed: int = 0) -> None:
    """Random weights that keep inputs apart; the usual initialisation maps all texts to nearly the same vector."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in network.named_parameters():
            if "_extractor" in name and "conv_layers" not in name:  # laion_clap keeps its front end among the weights
                continue
            if value.ndim >= 2:
                # Strong attention in the text tower lets words, not the common first token, decide the vector.
                gain = 4.0 if "attention" in name and "text_" in name else 1.0
                scale = 1.0 if "embeddings" in name else gain * value[0].numel() ** -0.5
                value.copy_(torch.randn(value.shape, generator=generator) * scale)
            elif name.endswith("bias"):
                value.copy_(torch.randn(value.shape, generator=generator) * 0.1)


def save_clap(folder: Path, size: str = "nano", *, fusion: bool = False, collapsed: bool = False) -> Path:
    """A CLAP in the format of transformers."""
    audio = {**CLAP_SIZES[size], "enable_fusion": fusion, "fusion_type": "aff_2d" if fusion else None}
    text = {**(NANO_TEXT if size == "nano" else {}), **ROBERTA}
    joint = 64 if size == "nano" else 512
    config = ClapConfig(
        audio_config={**audio, "projection_dim": joint},
        text_config={**text, "projection_dim": joint},
        projection_dim=joint,
    )
    network = ClapModel(config).eval()
    spread_weights(network)
    music_statistics(network.audio_model.audio_encoder.batch_norm)
    with torch.no_grad():
        for scale in (network.logit_scale_a, network.logit_scale_t):
            scale.fill_(math.log(1 / 0.07))
    if collapsed:
        with torch.no_grad():
            network.text_projection.linear1.weight.mul_(1e-3)
    network.save_pretrained(folder)
    fmin = 0 if fusion else 50
    ClapFeatureExtractor(truncation="fusion" if fusion else "rand_trunc", frequency_min=fmin).save_pretrained(folder)
    save_tokenizer(folder)
    return folder


def music_statistics(layer: torch.nn.Module) -> None:
    """Set the statistics of a batch normalisation to those of decibels of music."""
    layer.running_mean.fill_(-30.0)
    layer.running_var.fill_(400.0)


def save_mert(folder: Path, size: str = "95M", **changes: int) -> Path:
    """A MERT as its authors publish it: their configuration, and pickled weights with the old names of weight norm."""
    config = HubertConfig(**{**MERT_SIZES[size], **changes}, num_conv_pos_embeddings=128, vocab_size=32)
    network = HubertModel(config).eval()
    weights = {}
    for name, value in network.state_dict().items():
        name = name.replace("parametrizations.weight.original0", "weight_g")
        weights[name.replace("parametrizations.weight.original1", "weight_v")] = value
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(weights, folder / "pytorch_model.bin")
    own = {
        "model_type": "mert_model",
        "auto_map": {"AutoConfig": "configuration_MERT.MERTConfig", "AutoModel": "modeling_MERT.MERTModel"},
        "architectures": ["MERTModel"],
        "feature_extractor_cqt": False,
        "feature_extractor_cqt_bins": 336,
        "deepnorm": False,
        "attention_relax": -1.0,
        "sample_rate": 24_000,
    }
    (folder / "config.json").write_text(json.dumps(config.to_dict() | own))
    save_mert_preprocessor(folder)
    return folder


def save_mert_preprocessor(folder: Path) -> None:
    settings = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "do_normalize": True, "sampling_rate": 24_000}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))


def roberta_config(*, full_size: bool) -> RobertaConfig:
    """The configuration of roberta-base, or of its first two layers with few words."""
    short = {} if full_size else {"num_hidden_layers": 2}
    return RobertaConfig(vocab_size=50_265 if full_size else 512, **ROBERTA, **short)


if __name__ == "__main__":
    save_clap(Path(sys.argv[1]), sys.argv[2])


def save_simple_cnn(path: Path, num_labels: int = 8) -> Path:
    """A state dict as ``scripts/train.py`` leaves it, with random weights."""
    network = SimpleCNN(128, num_labels)
    spread_weights(network)
    torch.save(network.state_dict(), path)
    return path
