"""CLAP: audio and text in a joint embedding space.

The networks are those of transformers. Windowing and the front end are eno's own, so that embeddings are deterministic:
the published libraries take a random excerpt of audio longer than ten seconds and, with feature fusion, mark a random
window of each batch as longer.

References
----------
Y. Wu, K. Chen, T. Zhang, Y. Hui, T. Berg-Kirkpatrick and S. Dubnov, "Large-scale contrastive language-audio pretraining
with feature fusion and keyword-to-caption augmentation", ICASSP 2023, https://arxiv.org/abs/2211.06687.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch.nn.functional import normalize
from transformers import AutoTokenizer, ClapModel

from eno.encoders.checkpoints import CONFIG, PREPROCESSOR, Checkpoint, load_network, locate
from eno.encoders.clap.front_end import ClapLogMel
from eno.encoders.text import check_text_tower, encode_in_batches
from eno.encoders.torch_encoder import BatchSize, Dtype, TorchEncoder
from eno.errors import ConfigError, WeightsError
from eno.spec import EncoderSpec

DEFAULT_MODEL = "laion/larger_clap_general"

_TEXT_TOKENS = 77  # texts were padded to this length in training
_OUTPUTS = ("projection", "pooled")


class CLAP(TorchEncoder):
    """Any CLAP checkpoint in transformers' format.

    Parameters
    ----------
    model : str
        Checkpoint: an id on the Hugging Face hub, or a folder. ``eno weights convert-laion`` converts a checkpoint of
        laion_clap into such a folder.
    revision : str, optional
        Branch, tag or commit on the hub.
    output : {"projection", "pooled"}
        Layer that becomes the vector: the joint audio-text embedding, or the pooled hidden states before it. The
        first has unit length and is needed for text queries and zero-shot tags; the second is larger (768 or 1024
        values) and often better for training heads.
    batch_size : int, optional
        Windows per batch; by default 4 on a CPU and 64 on a GPU.
    device, dtype
        See `eno.encoders.torch_encoder.TorchEncoder`.

    Raises
    ------
    WeightsError
        The checkpoint cannot be found or downloaded, or does not fit; or, for the projection, its text tower maps all
        texts to nearly the same vector.

    Notes
    -----
    The default, ``laion/larger_clap_general``, is the HTSAT-base network trained on general audio, music and speech.
    It is licensed under Apache-2.0, and its text tower works: unrelated texts have a mean cosine similarity of 0.29,
    against 0.999 in ``laion/larger_clap_music``. For zero-shot genres, laion_clap's
    ``music_audioset_epoch_15_esc_90.14.pt`` is better (its authors report 71 % on GTZAN, and 51 % for the source of
    the default) and worth converting; it is not the default because no licence is stated.

    Vectors depend on the level of the audio.
    """

    _batch_sizes = (4, 64)

    def __init__(
        self,
        *,
        model: str = DEFAULT_MODEL,
        revision: str | None = None,
        output: Literal["projection", "pooled"] = "projection",
        device: str = "auto",
        dtype: Dtype = "auto",
        batch_size: BatchSize = None,
    ) -> None:
        if output not in _OUTPUTS:
            raise ConfigError(f"Encoder 'clap' has no output {output!r}; choose from: {', '.join(_OUTPUTS)}.")
        super().__init__(device=device, dtype=dtype, batch_size=batch_size)
        checkpoint = locate(model, revision)
        settings = checkpoint.read_json(PREPROCESSOR)
        code_revision = checkpoint.code_revision("1", CONFIG, PREPROCESSOR)
        network = load_network(ClapModel, checkpoint)
        self._front_end = ClapLogMel(settings).to(self.device)
        self._output = output
        self._channels = 4 if network.config.audio_config.enable_fusion else 1
        dims = {"projection": network.config.projection_dim, "pooled": network.config.audio_config.hidden_size}
        sample_rate = int(settings.get("sampling_rate", 48_000))
        self.spec = EncoderSpec(
            name="clap",
            options={"output": output},
            revision=code_revision,
            weights_sha256=checkpoint.sha256,
            sample_rate=sample_rate,
            window_samples=int(settings.get("max_length_s", 10)) * sample_rate,
            layers=(output,),
            pooling="mean over time and frequency" + (", projected, unit length" if output == "projection" else ""),
            dim=dims[output],
            padding="repeatpad",  # as in training
            location=checkpoint.location,
            normalized=output == "projection",
        )
        self.logit_scale = float(network.logit_scale_a.detach().exp())
        if output == "pooled":
            network.text_model = None
        self._network = self._place(network)
        self._tokenizer: Any = _load_tokenizer(checkpoint) if output == "projection" else None
        if self._tokenizer is not None:
            check_text_tower(self, model)

    def _forward(self, audio: torch.Tensor) -> torch.Tensor:
        mel = self._front_end(audio).unsqueeze(1).expand(-1, self._channels, -1, -1)
        never_longer = torch.zeros(len(audio), 1, dtype=torch.bool, device=audio.device)
        with self._mixed_precision():
            pooled = self._network.audio_model(input_features=mel, is_longer=never_longer).pooler_output
            if self._output == "pooled":
                hidden: torch.Tensor = pooled.unsqueeze(1)
                return hidden
            projected = self._network.audio_projection(pooled)
        vectors: torch.Tensor = normalize(projected.float(), dim=-1).unsqueeze(1)
        return vectors

    def encode_text(self, texts: Sequence[str]) -> np.ndarray:
        """Embed texts in the joint space.

        Parameters
        ----------
        texts : sequence of str
            Texts are truncated to 77 tokens.

        Returns
        -------
        np.ndarray [shape=(n, dim), dtype=float32]
            Unit vectors.

        Raises
        ------
        ConfigError
            The encoder's output is 'pooled', which is not in the joint space.
        WeightsError
            The checkpoint has no tokenizer.
        """
        if self._output != "projection":
            raise ConfigError("Text needs the encoder 'clap' with output = 'projection'; this one has 'pooled'.")
        if self._tokenizer is None:
            raise WeightsError(
                f"{self.spec.location['model']}: has no tokenizer, so it cannot embed text. Put tokenizer.json and "
                "tokenizer_config.json of roberta-base there, or convert it again with --tokenizer FOLDER."
            )
        return encode_in_batches(texts, self._encode_texts, self.spec.dim)

    @torch.inference_mode()
    def _encode_texts(self, texts: list[str]) -> np.ndarray:
        tokens = self._tokenizer(
            texts, padding="max_length", truncation=True, max_length=_TEXT_TOKENS, return_tensors="pt"
        ).to(self.device)
        with self._mixed_precision():
            hidden = self._network.text_model(
                input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]
            ).pooler_output
            projected = self._network.text_projection(hidden)
        vectors: np.ndarray = normalize(projected.float(), dim=-1).cpu().numpy()
        return vectors


def _load_tokenizer(checkpoint: Checkpoint) -> Any:
    """Return the checkpoint's tokenizer, or None if it has none: audio alone does not need it."""
    if not any((checkpoint.folder / name).is_file() for name in ("tokenizer.json", "vocab.json")):
        return None
    try:
        return AutoTokenizer.from_pretrained(checkpoint.folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise WeightsError(f"{checkpoint.folder}: the tokenizer cannot be loaded ({error}).") from error
