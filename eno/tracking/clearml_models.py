"""Download predictors from ClearML's model registry."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from eno.errors import ModelError
from eno.files import cache_folder

_ID = re.compile(r"[0-9a-f]{32}")
_TIMEOUT_S = 600


def fetch_predictor(source: str) -> Path | None:
    """Download a predictor into eno's cache and return its folder.

    None if `source` is not the id of a ClearML model: 32 hexadecimal digits.
    """
    return _unpack(_download(source), source) if _ID.fullmatch(source) else None


def _download(model_id: str) -> Path:
    # In a separate process, because the SDK hooks into the process that imports it, and can block for minutes.
    command = [sys.executable, "-m", __name__, model_id]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S)
        if done.returncode == 0:
            return Path(done.stdout.splitlines()[-1])
        reason = (done.stderr.strip().splitlines() or ["no reason was given"])[-1]
    except subprocess.TimeoutExpired:
        reason = f"no answer within {_TIMEOUT_S} s"
    raise ModelError(
        f"ClearML model {model_id} could not be downloaded ({reason}). Check the id, and that ClearML is configured "
        "(clearml-init)."
    )


def _unpack(archive: Path, name: str) -> Path:
    """Unpack a zip file into the cache atomically, next to earlier versions of the same model."""
    if not zipfile.is_zipfile(archive):
        raise ModelError(f"ClearML model {name} is not a predictor. Register one with 'eno train' or scripts/serve.py.")
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:12]
    folder = cache_folder() / "models" / f"{name}-{digest}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".", dir=folder.parent))
    try:
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(temporary)
        if not folder.is_dir():
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _main(model_id: str) -> None:
    from clearml import Model
    from clearml.backend_api import Session

    from eno.tracking.clearml_server import server_problem

    problem = server_problem()
    if problem is not None:
        sys.exit(f"the server does not answer: {problem}")
    model = Model(model_id=model_id)
    if model._get_model_data() is None:
        sys.exit(f"{Session.get_api_server_host()} has no model with this id, or does not show it to you")
    print(model.get_local_copy(extract_archive=False, raise_on_error=True, force_download=True))  # noqa: T201


if __name__ == "__main__":
    _main(sys.argv[1])
