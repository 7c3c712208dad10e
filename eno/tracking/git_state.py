"""Describe the running code, so that a worker on another machine can run the same version."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from eno import version

_TIMEOUT_S = 5
_SCRIPT = "eno_command.py"
_DISTRIBUTIONS = ("eno-music", "eno")  # the second up to version 0.1


def script_of(entry: tuple[str, ...]) -> dict[str, str]:
    """Describe what a worker has to run: the `entry` of a `eno.tracking.experiment.Command` in eno's code.

    If that is a git checkout, it is described by ``repository``, ``branch`` and ``commit``; else ``code`` is a script
    that runs the installed version. ``packages`` has one requirement per line. Uncommitted changes and the current
    directory are not read.
    """
    checkout = _checkout()
    entry_point, code = shlex.join(entry), ""
    if not checkout and entry[:2] == ("-m", "eno"):
        entry_point = _SCRIPT
        code = f"import sys\n\nfrom eno.cli import main\n\nsys.argv[1:] = {list(entry[2:])!r}\nmain()\n"
    packages = "\n".join(filter(None, (*_packages(), "" if checkout else requirement())))
    return {**checkout, "working_dir": ".", "entry_point": entry_point, "code": code, "packages": packages}


def uncommitted() -> bool:
    """Whether eno is a checkout with changes that a worker does not get."""
    return bool(_checkout()) and bool(_git("status", "--porcelain", "--untracked-files=no"))


def requirement() -> str:
    """Return the requirement from which pip installs exactly this version of eno; empty if unknown.

    It is never the bare name, under which an index may have something else.
    """
    checkout = _checkout()
    if checkout:
        short = re.fullmatch(r"([^/@:]+@[^/:]+):(?!//)(.+)", checkout["repository"])  # git@host:path
        address = f"ssh://{short[1]}/{short[2]}" if short else checkout["repository"]
        return f"{_distribution()} @ git+{address}@{checkout['commit']}"
    try:
        content = json.loads(metadata.distribution(_distribution()).read_text("direct_url.json") or "{}")
        return f"{_distribution()} @ git+{_without_password(content['url'])}@{content['vcs_info']['commit_id']}"
    except (metadata.PackageNotFoundError, ValueError, KeyError):
        return ""


def _checkout() -> dict[str, str]:
    if not (_root() / ".git").exists():
        return {}
    address, commit = _git("remote", "get-url", "origin"), _git("rev-parse", "HEAD")
    if not address or not commit:
        return {}
    branch = _git("rev-parse", "--abbrev-ref", "HEAD")
    return {"repository": _without_password(address), "branch": branch, "commit": commit}


def _root() -> Path:
    return Path(version.__file__).parents[1]


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(_root()), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _without_password(address: str) -> str:
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or "@" not in parts.netloc:
        return address
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _distribution() -> str:
    """Return the name under which eno is installed."""
    installed = [name for name in _DISTRIBUTIONS if next(iter(metadata.Distribution.discover(name=name)), None)]
    return [*installed, *_DISTRIBUTIONS][0]


def _packages() -> list[str]:
    """Pin eno's requirements to the installed versions, without local version labels such as +cpu."""
    found = []
    for requirement in metadata.requires(_distribution()) or []:
        name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
        if "extra ==" in requirement:
            continue
        try:
            found.append(f"{name}=={metadata.version(name).partition('+')[0]}")
        except metadata.PackageNotFoundError:
            found.append(requirement.partition(";")[0].strip())
    return sorted(found)
