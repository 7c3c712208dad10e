"""Small checkpoints of every kind, created once."""

import json

import pytest
from transformers import (
    ASTConfig,
    ASTFeatureExtractor,
    ASTModel,
    EncodecConfig,
    EncodecFeatureExtractor,
    EncodecModel,
    HubertConfig,
    HubertModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMModel,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperModel,
)

from tests.checkpoints import save_clap, spread_weights

_SPEECH = {
    "hidden_size": 48, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 96,
    "conv_dim": (32,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4,
}  # fmt: skip
_NETWORKS = {
    "wav2vec2": lambda: (Wav2Vec2Model, Wav2Vec2Config(**_SPEECH)),
    "hubert": lambda: (HubertModel, HubertConfig(**_SPEECH, do_stable_layer_norm=True, feat_extract_norm="layer")),
    "wavlm": lambda: (WavLMModel, WavLMConfig(**_SPEECH)),
    "ast": lambda: (
        ASTModel,
        ASTConfig(hidden_size=48, num_hidden_layers=3, num_attention_heads=4, intermediate_size=96, max_length=128),
    ),
    "whisper": lambda: (
        WhisperModel,
        WhisperConfig(
            d_model=48, encoder_layers=3, decoder_layers=1, encoder_attention_heads=4, decoder_attention_heads=4,
            encoder_ffn_dim=96, decoder_ffn_dim=96, vocab_size=60, pad_token_id=0, bos_token_id=1, eos_token_id=2,
            decoder_start_token_id=1,
        ),
    ),
    "encodec": lambda: (EncodecModel, EncodecConfig(num_filters=4, hidden_size=16, upsampling_ratios=[8, 5, 4, 2])),
    "encodec-stereo": lambda: (
        EncodecModel,
        EncodecConfig(
            num_filters=4, hidden_size=16, sampling_rate=48_000, audio_channels=2, normalize=True, chunk_length_s=1.0,
            overlap=0.01, norm_type="time_group_norm", use_causal_conv=False,
        ),
    ),
}  # fmt: skip
_EXTRACTORS = {
    "ast": lambda: ASTFeatureExtractor(max_length=128),
    "whisper": lambda: WhisperFeatureExtractor(chunk_length=30),
    "encodec": EncodecFeatureExtractor,
    "encodec-stereo": lambda: EncodecFeatureExtractor(feature_size=2, sampling_rate=48_000),
}
FAMILIES = tuple(_NETWORKS)


@pytest.fixture(scope="session")
def small_models(tmp_path_factory):
    """Folder of a small checkpoint of every family that ``hf:`` runs."""
    root = tmp_path_factory.mktemp("hf")
    for family, make in _NETWORKS.items():
        model_class, config = make()
        network = model_class(config).eval()
        spread_weights(network)
        network.save_pretrained(root / family)
        _EXTRACTORS.get(family, lambda: Wav2Vec2FeatureExtractor(do_normalize=True))().save_pretrained(root / family)
    return root


@pytest.fixture(scope="session")
def small_clap(tmp_path_factory):
    return save_clap(tmp_path_factory.mktemp("clap"))


@pytest.fixture(scope="session")
def fused_clap(tmp_path_factory):
    return save_clap(tmp_path_factory.mktemp("fused"), fusion=True)


@pytest.fixture(scope="session")
def small_mert(tmp_path_factory):
    """Folders of the small MERTs whose stored results come from MERT's own code."""
    return {size: golden_mert(tmp_path_factory.mktemp(size), size) for size in ("95m", "330m")}


def golden_mert(folder, size):
    from tests.checkpoints import GOLDEN, save_mert_preprocessor

    (folder / "config.json").write_text((GOLDEN / f"mert_nano_{size}.json").read_text())
    (folder / "pytorch_model.bin").write_bytes((GOLDEN / f"mert_nano_{size}.bin").read_bytes())
    save_mert_preprocessor(folder)
    return folder


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory):
    """Redirect converted checkpoints to a temporary cache; downloaded wheels stay in the user's."""
    from eno.encoders import checkpoints

    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setattr(checkpoints, "cache_folder", lambda: folder)
        yield


def edit_json(path, **changes):
    """Change values of a JSON file; None removes the key."""
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
