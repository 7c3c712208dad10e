"""Predictors of ClearML's model registry."""

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
_FETCH_S = 600


def pretrained_folder(source: Path | str) -> Path:
    """Find a predictor on disk, or fetch it from ClearML.

    Parameters
    ----------
    source : Path or str
        Its folder, or the id of a ClearML model: 32 hexadecimal digits. A folder that is called so comes first.

    Returns
    -------
    Path
        Its folder. What ClearML holds is fetched anew, and unpacked in eno's cache.

    Raises
    ------
    ModelError
        ClearML has no such model, does not answer, or what it holds is no predictor.
    """
    folder = Path(source)
    if folder.exists() or not _ID.fullmatch(str(source)):
        return folder
    return _unpack(_fetch(str(source)), str(source))


def _fetch(model_id: str) -> Path:
    # In a process of its own: the SDK hooks into the one that imports it, and can wait for minutes.
    command = [sys.executable, "-m", __name__, model_id]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_FETCH_S)
        reason = (done.stderr.strip().splitlines() or ["it does not say why"])[-1]
    except subprocess.TimeoutExpired:
        reason = f"no answer within {_FETCH_S} s"
    else:
        if done.returncode == 0:
            return Path(done.stdout.splitlines()[-1])
    raise ModelError(
        f"ClearML model {model_id} cannot be fetched ({reason}). Check the id, and that ClearML is configured "
        "(clearml-init)."
    )


def _unpack(archive: Path, name: str) -> Path:
    """Unpack a zip file in the cache, whole or not at all, beside earlier ones of the same name."""
    if not zipfile.is_zipfile(archive):
        raise ModelError(f"ClearML model {name} holds no predictor; 'eno train' and scripts/serve.py register one.")
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

    model = Model(model_id=model_id)
    print(model.get_local_copy(extract_archive=False, raise_on_error=True, force_download=True))  # noqa: T201


if __name__ == "__main__":
    _main(sys.argv[1])
