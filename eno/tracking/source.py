"""Which code runs, told so that another machine can run the same."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import eno

_TIMEOUT_S = 5
_JOB = "eno_command.py"


def script_of(entry: tuple[str, ...]) -> dict[str, str]:
    """Describe what a worker must run.

    Only eno's own code is named: by repository and commit where it is a checkout of git, else by its version. What is
    not committed is not read, and neither is the folder in which the command is given.

    Parameters
    ----------
    entry : tuple of str
        See `eno.tracking.experiment.Command`.

    Returns
    -------
    dict of str to str
        ``repository``, ``branch``, ``commit``, ``working_dir``, ``entry_point``, ``code`` (a script to run where there
        is no repository) and ``packages`` (a requirement a line).
    """
    place = _checkout(Path(eno.__file__).parents[1])
    entry_point, code = shlex.join(entry), ""
    if not place and entry[:2] == ("-m", "eno"):
        entry_point = _JOB
        code = f"import sys\n\nfrom eno.cli import main\n\nsys.argv[1:] = {list(entry[2:])!r}\nmain()\n"
    packages = "\n".join(filter(None, (*_packages(), "" if place else requirement())))
    return {**place, "working_dir": ".", "entry_point": entry_point, "code": code, "packages": packages}


def uncommitted() -> bool:
    """Whether eno is a checkout with changes that a worker will not have."""
    root = Path(eno.__file__).parents[1]
    return bool(_checkout(root)) and bool(_git(root, "status", "--porcelain", "--untracked-files=no"))


def _checkout(root: Path) -> dict[str, str]:
    if not (root / ".git").exists():
        return {}
    address, commit = _git(root, "remote", "get-url", "origin"), _git(root, "rev-parse", "HEAD")
    if not address or not commit:
        return {}
    return {
        "repository": _without_password(address),
        "branch": _git(root, "rev-parse", "--abbrev-ref", "HEAD"),
        "commit": commit,
    }


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _without_password(address: str) -> str:
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or "@" not in parts.netloc:
        return address
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _packages() -> list[str]:
    """Requirements of eno in the versions that are installed here, without what is only of this machine."""
    found = []
    for requirement in metadata.requires("eno") or []:
        name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
        if "extra ==" in requirement:
            continue
        try:
            found.append(f"{name}=={metadata.version(name).partition('+')[0]}")
        except metadata.PackageNotFoundError:
            found.append(requirement.partition(";")[0].strip())
    return sorted(found)


def requirement() -> str:
    """Give what pip installs this very eno from, or nothing where that is not known.

    Its bare name is never given: pip would take whatever an index has under it.
    """
    place = _checkout(Path(eno.__file__).parents[1])
    if place:
        short = re.fullmatch(r"([^/@:]+@[^/:]+):(?!//)(.+)", place["repository"])  # git@host:path
        address = f"ssh://{short[1]}/{short[2]}" if short else place["repository"]
        return f"eno @ git+{address}@{place['commit']}"
    try:
        content = json.loads(metadata.distribution("eno").read_text("direct_url.json") or "{}")
        return f"eno @ git+{_without_password(content['url'])}@{content['vcs_info']['commit_id']}"
    except (metadata.PackageNotFoundError, ValueError, KeyError):
        return ""
