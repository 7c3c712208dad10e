"""Find, read and load checkpoints in the format of transformers, from a folder or the Hugging Face hub.

Reading a checkpoint never runs code from it: pickles are only read with ``weights_only=True``, and remote code is off.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import huggingface_hub
import torch
from huggingface_hub.errors import HfHubHTTPError
from safetensors import SafetensorError
from safetensors.torch import save_file

from eno.errors import WeightsError, first_line
from eno.files import cache_folder, replace_file, temporary_name

CONFIG, PREPROCESSOR, WEIGHTS = "config.json", "preprocessor_config.json", "model.safetensors"
_PICKLED = "pytorch_model*.bin"  # one file, or several of a large model
_SMALL_FILES = ("*.json", "*.txt")


@dataclass(frozen=True)
class Checkpoint:
    """A folder in the format of transformers, with the weights as safetensors.

    Attributes
    ----------
    folder : Path
        With ``config.json``, ``model.safetensors`` and the other files of the model.
    location : dict
        ``model``: the folder or the id on the hub; for the latter also ``revision``: the commit.
    sha256 : str
        Hash of the weights as published.
    """

    folder: Path
    location: dict[str, str]
    sha256: str

    def read_json(self, name: str) -> dict[str, Any]:
        """Read a JSON file of the folder; raise `WeightsError` if it is missing or damaged."""
        path = self.folder / name
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise WeightsError(f"{path}: cannot be read ({error.strerror}). Copy it from the checkpoint.") from error
        except ValueError as error:
            raise WeightsError(f"{path}: is not valid JSON ({error}). Copy it again from the checkpoint.") from error
        if not isinstance(content, dict):
            raise WeightsError(f"{path}: is not a JSON object. Copy it again from the checkpoint.")
        return content

    def code_revision(self, code: str, *names: str) -> str:
        """Return the version of eno's code and a hash of these JSON files, for `EncoderSpec.revision`."""
        canonical = json.dumps([self.read_json(name) for name in names], sort_keys=True)
        return f"{code}-{hashlib.sha256(canonical.encode()).hexdigest()[:8]}"


def locate(model: str, revision: str | None = None) -> Checkpoint:
    """Find a checkpoint on disk, in the hub's cache or on the hub.

    A checkpoint that is only published as ``pytorch_model.bin`` is converted to safetensors once, in eno's cache.

    Parameters
    ----------
    model : str
        A folder, or an id on the hub such as ``"laion/larger_clap_general"``.
    revision : str, optional
        Branch, tag or commit on the hub.

    Raises
    ------
    WeightsError
        It cannot be found or downloaded, or contains no weights; the message says which files are needed.
    """
    folder = Path(model).expanduser()
    location = {"model": str(folder.absolute())}
    if not folder.is_dir():
        folder = _from_hub(model, revision)
        location = {"model": model, "revision": folder.name}
    elif revision is not None:
        raise WeightsError(f"{model}: is a folder, which has no revision {revision!r}. Leave out the revision.")
    shards = sorted(folder.glob("*.safetensors"))
    if shards:
        return Checkpoint(folder, location, sha256_of(shards))
    pickled = sorted(folder.glob(_PICKLED))
    if not pickled:
        raise WeightsError(f"{folder}: contains no weights. Put {WEIGHTS} there, next to {CONFIG} and {PREPROCESSOR}.")
    sha256 = sha256_of(pickled)
    return Checkpoint(_convert(folder, pickled, sha256), location, sha256)


def read_pickled(path: Path, safe_globals: tuple[Any, ...] = ()) -> Any:
    """Read a file written by ``torch.save`` without running any code in it.

    Parameters
    ----------
    safe_globals : tuple
        Types other than tensors that it may contain, as for ``torch.serialization.safe_globals``.

    Raises
    ------
    WeightsError
        It is missing, damaged, or contains anything else.
    """
    try:
        with torch.serialization.safe_globals(list(safe_globals)):
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror}).") from error
    except pickle.UnpicklingError as error:
        found = str(error).partition("Unsupported global: GLOBAL ")[2].partition(" ")[0]
        what = f"it contains a Python object, {found}" if found else "it is damaged or not a checkpoint"
        raise WeightsError(
            f"{path}: is refused because {what}. Opening such a file can run code. Get the checkpoint from its "
            "authors, or save it again with tensors only."
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError) as error:
        raise WeightsError(f"{path}: is damaged ({first_line(error)}). Download it again.") from error


def load_network(model_class: Any, checkpoint: Checkpoint, *, config: Any = None, unused: tuple[str, ...] = ()) -> Any:
    """Load a network of transformers in float32 on the CPU; missing and unexpected weights are errors.

    Parameters
    ----------
    model_class : type
        A model class of transformers.
    checkpoint : Checkpoint
        The weights.
    config : transformers.PretrainedConfig, optional
        Used instead of the folder's ``config.json``.
    unused : tuple of str
        Prefixes of weights that the class does not need, such as a classifier.

    Raises
    ------
    WeightsError
        The weights do not fit the architecture; the message names them.
    """
    options = {} if config is None else {"config": config}
    try:
        with _quiet():
            network, report = model_class.from_pretrained(
                checkpoint.folder,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # so that they are in the report, by name
                torch_dtype=torch.float32,  # whatever the file and its config.json say
                **options,
            )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise WeightsError(f"{checkpoint.folder}: cannot be loaded ({first_line(error)}).") from error
    buffers = {name for name, _ in network.named_buffers()} | _POSITION_BUFFERS
    missing = set(report["missing_keys"]) - buffers
    unexpected = {key for key in report["unexpected_keys"] if not key.startswith(unused)} - buffers
    wrong = {str(key[0] if isinstance(key, tuple) else key) for key in report["mismatched_keys"]}
    for problem, keys in (("lacks", missing), ("has unexpected weights:", unexpected), ("has other shapes for", wrong)):
        if keys:
            shown = ", ".join(sorted(keys)[:5]) + (f" and {len(keys) - 5} more" if len(keys) > 5 else "")
            raise WeightsError(
                f"{checkpoint.folder}: {problem} {shown}. This is not a checkpoint of {model_class.__name__}."
            )
    return network


# Older versions of transformers saved these counters; newer ones compute them.
_POSITION_BUFFERS = {
    f"{prefix}embeddings.{name}" for prefix in ("", "text_model.") for name in ("position_ids", "token_type_ids")
}


def _from_hub(model: str, revision: str | None) -> Path:
    try:
        return _download(model, revision)
    except (OSError, HfHubHTTPError, ValueError) as error:
        raise WeightsError(
            f"{model}: is not a folder, and cannot be downloaded from the hub ({first_line(error)}). Offline: "
            f"download it on another machine ('hf download {model} --local-dir FOLDER'), copy the folder here and "
            f"specify it as the model. It must contain {CONFIG}, {PREPROCESSOR} and {WEIGHTS}, for text also "
            "tokenizer.json."
        ) from error


def _download(model: str, revision: str | None) -> Path:
    def fetch(*patterns: str) -> Path:
        return Path(huggingface_hub.snapshot_download(model, revision=revision, allow_patterns=list(patterns)))

    folder = fetch(*_SMALL_FILES, "*.safetensors")
    return folder if any(folder.glob("*.safetensors")) else fetch(*_SMALL_FILES, _PICKLED)


def _convert(folder: Path, pickled: list[Path], sha256: str) -> Path:
    """Copy a checkpoint to eno's cache with its pickled weights as safetensors."""
    small = sorted(path for pattern in _SMALL_FILES for path in folder.glob(pattern))
    # The same weights with another configuration are another model.
    key = hashlib.sha256(sha256.encode())
    for path in small:
        key.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    target = cache_folder() / "weights" / f"converted-{key.hexdigest()[:16]}"
    if (target / WEIGHTS).is_file():
        return target
    # Tensors may share memory, which safetensors does not support.
    copies = {
        name: value.clone().contiguous()
        for file in pickled
        for name, value in read_pickled(file).items()
        if torch.is_tensor(value)
    }
    temporary = target.with_name(temporary_name(target.name))
    temporary.mkdir(parents=True, exist_ok=True)
    try:
        for path in small:
            shutil.copy(path, temporary)
        with replace_file(temporary / WEIGHTS) as file:
            save_file(copies, file, metadata={"format": "pt", "source_sha256": sha256})
        shutil.rmtree(target, ignore_errors=True)
        temporary.replace(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def sha256_of(files: list[Path]) -> str:
    """Return the hash of a file, or of the hashes of several files."""
    digests = []
    for path in files:
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the progress bars and load reports of transformers; `load_network` turns problems into errors."""
    from transformers.utils import logging  # slow to import, and other checkpoints need no network of transformers

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
