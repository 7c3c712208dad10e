"""Locate a saved predictor: in a folder, in ClearML's model registry, or on the Hugging Face hub."""

from __future__ import annotations

import re
from pathlib import Path

import huggingface_hub
from huggingface_hub.errors import HfHubHTTPError

from eno.errors import ModelError, first_line
from eno.registry import import_class

SOURCES = {
    "clearml": "eno.tracking.clearml_models:fetch_predictor",
    "hub": "eno.inference.sources:fetch_from_hub",
}
"""Source → ``module:function``. The function takes a name and returns a folder, or None for names of another kind."""

PREDICTOR_FILES = (
    "README.md",
    "predictor.json",
    "label_encoder.json",
    "calibration.json",
    "album_calibration.json",
    "taught-*.safetensors",
    "familiarity.safetensors",
    "training.json",
    "history.json",
    "best_model.pt",
    "head/*.json",
    "head/*.safetensors",
    "head/*.txt",
    "head/*.faiss",
)
"""Which files are downloaded from the hub: no code, and best_model.pt is only read as tensors."""

_REPOSITORY = re.compile(r"(?P<name>[\w-][\w.-]*/[\w-][\w.-]*)(@(?P<revision>[\w./-]+))?", re.ASCII)


def find_predictor(source: Path | str) -> Path:
    """Return the local folder of a predictor, downloading it if necessary; raises a ModelError if that fails.

    Parameters
    ----------
    source : Path or str
        A folder; the id of a ClearML model (32 hexadecimal digits); or a repository on the Hugging Face hub,
        ``user/name`` or ``user/name@revision``. An existing folder takes precedence.
    """
    folder = Path(source)
    if not folder.exists() and isinstance(source, str):
        for place in SOURCES.values():
            found: Path | None = import_class(place)(source)
            if found is not None:
                return found
    return folder


def fetch_from_hub(source: str) -> Path | None:
    """Download a predictor from the Hugging Face hub, unless the hub's cache has it; raises a ModelError on failure.

    `source` is ``user/name``, optionally followed by ``@`` and a branch, tag or commit. If there is a local folder
    ``user``, the name is treated as a path.
    """
    repository = _REPOSITORY.fullmatch(source)
    if repository is None or Path(source).parent.is_dir():
        return None
    name, revision = repository["name"], repository["revision"]
    try:
        return Path(huggingface_hub.snapshot_download(name, revision=revision, allow_patterns=list(PREDICTOR_FILES)))
    except (OSError, HfHubHTTPError, ValueError) as error:
        raise ModelError(
            f"{source}: there is no such folder, and it could not be downloaded from the Hugging Face hub "
            f"({first_line(error)}). Check the name and the network, or pass the path of a predictor's folder."
        ) from error


def push_to_hub(folder: Path | str, repository: str, *, private: bool = True, token: str | None = None) -> str:
    """Upload a predictor's folder to the Hugging Face hub, and return the address of the commit.

    What is uploaded are the files that `fetch_from_hub` downloads; no audio, no embeddings, no list of tracks. Taught
    tags have the names of their examples.

    Parameters
    ----------
    repository : str
        ``user/name``; created if it does not exist, `private` unless told otherwise.
    token : str, optional
        By default that of ``hf auth login`` or ``$HF_TOKEN``.

    Raises
    ------
    ModelError
        The folder has no predictor, or the upload failed.
    """
    folder = Path(folder)
    if not (folder / "predictor.json").is_file():
        raise ModelError(f"{folder}: not a predictor (predictor.json is missing). 'eno train' writes one.")
    api = huggingface_hub.HfApi(token=token)
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        done = api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            allow_patterns=list(PREDICTOR_FILES),
            commit_message="Predictor saved with eno",
        )
    except (OSError, HfHubHTTPError, ValueError) as error:
        raise ModelError(
            f"{repository}: could not be uploaded to the Hugging Face hub ({first_line(error)}). Check the name and "
            "the network, and log in with: hf auth login"
        ) from error
    return done.commit_url
