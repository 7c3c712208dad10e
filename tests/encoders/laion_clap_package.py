"""laion_clap's own code from its wheel, with fakes for modules that it imports but does not need here.

The wheel is only unpacked: installing it would bring NumPy 1 and a dozen packages for training.
"""

import importlib
import sys
import types
import zipfile
from contextlib import contextmanager
from pathlib import Path

import pytest
import transformers
from transformers import PreTrainedTokenizerFast, RobertaModel

from eno.encoders.wheels import fetch_wheel
from tests.checkpoints import roberta_config, save_tokenizer, spread_weights

_WHEEL = "laion_clap-1.1.7-py3-none-any.whl"
_SHA256 = "5451024fb9563a6f781945648151d2342845c0e06efb9304c4a9e08ae5711209"
_STAND_INS = (
    "torchvision", "torchvision.ops", "torchvision.ops.misc", "torchvision.transforms", "torchvision.datasets",
    "h5py", "ftfy", "braceexpand", "webdataset", "wget", "wandb",
)  # fmt: skip


class _StandIn(types.ModuleType):
    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


@contextmanager
def laion_clap(folder: Path, *, full_size: bool):
    """Import the package, with random weights instead of roberta-base, which it would download from the hub."""
    wheel = fetch_wheel("laion-clap==1.1.7", _WHEEL, _SHA256)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    save_tokenizer(folder / "tokenizer")

    def tokenizer(*_args: object, **_options: object) -> PreTrainedTokenizerFast:
        return PreTrainedTokenizerFast.from_pretrained(folder / "tokenizer")

    def text_model(*_args: object, **_options: object) -> RobertaModel:
        network = RobertaModel(roberta_config(full_size=full_size))
        spread_weights(network, seed=1)
        return network

    before, path = dict(sys.modules), list(sys.path)
    with pytest.MonkeyPatch.context() as patch:
        for name in _STAND_INS:
            patch.setitem(sys.modules, name, _StandIn(name))
        for name in ("BertTokenizer", "RobertaTokenizer", "BartTokenizer"):
            patch.setattr(getattr(transformers, name), "from_pretrained", tokenizer)
        patch.setattr(transformers.RobertaModel, "from_pretrained", text_model)
        patch.syspath_prepend(folder)
        try:
            yield importlib.import_module("laion_clap")
        finally:
            sys.path[:] = path
            for name in set(sys.modules) - set(before):
                if name.partition(".")[0] in ("laion_clap", "clap_module"):
                    del sys.modules[name]
