"""MERT: a self-supervised model of music audio, loaded without remote code.

MERT's published modelling code is Hubert with switches that no released v1 checkpoint uses. Its checkpoints are
therefore loaded into the Hubert of transformers, and a configuration that turns a switch on is refused.

References
----------
Y. Li et al., "MERT: Acoustic music understanding model with large-scale self-supervised training", ICLR 2024,
https://arxiv.org/abs/2306.00107.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import HubertConfig, HubertModel

from eno.encoders.checkpoints import CONFIG, PREPROCESSOR, load_network, locate
from eno.encoders.hidden_states import HiddenStateEncoder, Layers, Pooling, all_states, standardise
from eno.encoders.torch_encoder import BatchSize, Dtype, WindowLength
from eno.errors import WeightsError

DEFAULT_MODEL = "m-a-p/MERT-v1-95M"

# Switches in MERT's own code that make it differ from Hubert, and the values at which they are off.
_SWITCHES: dict[str, Any] = {"feature_extractor_cqt": False, "deepnorm": False, "attention_relax": -1.0}


class MERT(HiddenStateEncoder):
    """MERT-v1-95M, MERT-v1-330M and compatible checkpoints.

    Parameters
    ----------
    model : str
        Checkpoint: an id on the Hugging Face hub, or a folder.
    revision : str, optional
        Branch, tag or commit on the hub.
    layers : "spread", "all" or sequence of int
        Hidden states to store: 'spread' (four, evenly over the depth), 'all', or layer numbers. 0 is the input of the
        first layer. MARBLE's probes use layer 6 of 95M; heads can learn weights for the stored layers.
    pooling : {"mean", "max", "mean_std"}
        Pooling over the frames of a window: mean, maximum, or mean and standard deviation.
    window_s : float
        Length of a window in seconds. The network was trained on 5 s.
    batch_size : int, optional
        Windows per batch; by default 2 on a CPU and 64 on a GPU.
    device, dtype
        See `eno.encoders.torch_encoder.TorchEncoder`.

    Raises
    ------
    WeightsError
        The checkpoint cannot be found or downloaded, or does not fit.

    Notes
    -----
    Windows are scaled to zero mean and unit variance first, so level does not matter. All windows have the same
    length, because the first layer normalises over time: padding would change every vector of a batch.

    The published weights are for non-commercial use (CC BY-NC 4.0).
    """

    _batch_sizes = (2, 64)

    def __init__(
        self,
        *,
        model: str = DEFAULT_MODEL,
        revision: str | None = None,
        layers: Layers = "spread",
        pooling: Pooling = "mean",
        window_s: WindowLength = 5.0,
        device: str = "auto",
        dtype: Dtype = "auto",
        batch_size: BatchSize = None,
    ) -> None:
        super().__init__(device=device, dtype=dtype, batch_size=batch_size)
        checkpoint = locate(model, revision)
        config = checkpoint.read_json(CONFIG)
        settings = checkpoint.read_json(PREPROCESSOR)
        for switch, off in _SWITCHES.items():
            if config.get(switch, off) != off:
                raise WeightsError(
                    f"{model}: {CONFIG} has {switch} = {config[switch]!r}, which only MERT's own code supports. "
                    "eno runs no remote code; use m-a-p/MERT-v1-95M or m-a-p/MERT-v1-330M."
                )
        hubert = HubertConfig.from_dict({key: value for key, value in config.items() if key not in _FOREIGN})
        self._network = self._place(load_network(HubertModel, checkpoint, config=hubert))
        self._standardise = bool(settings.get("do_normalize", True))
        sample_rate = int(settings.get("sampling_rate", config.get("sample_rate", 24_000)))
        self.spec = self._describe(
            name="mert",
            revision=checkpoint.code_revision("1", CONFIG, PREPROCESSOR),
            weights_sha256=checkpoint.sha256,
            location=checkpoint.location,
            depth=hubert.num_hidden_layers,
            width=hubert.hidden_size,
            layers=layers,
            pooling=pooling,
            window_s=window_s,
            sample_rate=sample_rate,
            gain_invariant=self._standardise,
        )

    def _hidden_states(self, audio: torch.Tensor) -> Sequence[torch.Tensor]:
        values = standardise(audio) if self._standardise else audio
        with self._mixed_precision():
            return all_states(self._network(values, output_hidden_states=True))


# Keys that refer to MERT's own classes.
_FOREIGN = ("model_type", "auto_map", "architectures", *_SWITCHES)
