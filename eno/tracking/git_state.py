"""Describe the running code, so that a worker on another machine can run the same version."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import tomllib
from importlib import metadata
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from eno import version

_TIMEOUT_S = 10
_SCRIPT = "eno_command.py"
_DISTRIBUTIONS = ("eno-music", "eno")  # the second up to version 0.1
_NOT_PINNED = {*_DISTRIBUTIONS, "pip"}  # a worker has a pip of its own
_EXTRAS = ("explore", "ray", "stats", "tune")  # what tracked commands may need
_SOURCES = ("eno", "scripts", "pyproject.toml")
_SHORT = re.compile(r"([^/@:]+@)?([^/:]{2,}):(?!//)(.+)")  # git@host:path; a single letter is a drive of Windows


def script_of(entry: tuple[str, ...]) -> dict[str, str]:
    """Describe what a worker has to run: the `entry` of a `eno.tracking.experiment.Command` in eno's code.

    If that is a git checkout, it is described by ``repository``, ``branch`` and ``commit``; else ``code`` is a script
    that runs the installed version. ``packages`` has one requirement per line, and the last is eno itself. Uncommitted
    changes and the current directory are not read.
    """
    checkout = _checkout()
    entry_point, code = shlex.join(entry), ""
    if not checkout and entry[:2] == ("-m", "eno"):
        entry_point = _SCRIPT
        code = f"import sys\n\nfrom eno.cli import main\n\nsys.argv[1:] = {list(entry[2:])!r}\nmain()\n"
    # A worker installs "." from its own clone, for which it has the credentials.
    packages = "\n".join(filter(None, (*_packages(), "." if checkout else requirement())))
    return {**checkout, "working_dir": ".", "entry_point": entry_point, "code": code, "packages": packages}


def worker_obstacle(entry: tuple[str, ...]) -> str | None:
    """Say why a worker could not run exactly this code, and what to do; None if it could."""
    root, checkout = _root(), _checkout()
    if not checkout:
        if (root / ".git").exists():
            return f"{root} has no git remote that a worker can clone. Push it to one: git remote add origin URL"
        if entry[:2] == ("-m", "eno") and requirement():
            return None
        return f"eno in {root} does not come from git, so a worker cannot install it. Run the command in a git clone."
    changed = _git("diff", "--name-only", "HEAD", "--", *_SOURCES).splitlines()
    changed += _git("ls-files", "--others", "--exclude-standard", "--", *_SOURCES).splitlines()
    if changed:
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        return f"{root} has changes that are not committed: {', '.join(changed[:3])}{more}. Commit and push them."
    remote, commit = _remote(), checkout["commit"]
    known = _git("for-each-ref", "--contains", commit, "--count=1", f"refs/remotes/{remote}")
    if not known and commit not in _git("ls-remote", remote):
        return f"commit {commit[:10]} of {root} is not on the remote {remote} ({checkout['repository']}). Push it."
    return None


def requirement() -> str:
    """Return the requirement from which pip installs exactly this version of eno; empty if unknown.

    It contains no spaces, and is never the bare name, under which an index may have something else.
    """
    checkout = _checkout()
    if checkout:
        address, commit = checkout["repository"], checkout["commit"]
        short = _SHORT.fullmatch(address)
        if short:
            address = f"ssh://{short[1] or ''}{short[2]}/{short[3]}"
        elif "://" not in address:
            address = Path(address).as_uri()
    else:
        try:
            found = _distribution()
            content = json.loads(found.read_text("direct_url.json") or "{}") if found else {}
            address, commit = _without_password(content["url"]), content["vcs_info"]["commit_id"]
        except (ValueError, KeyError):
            return ""
    return f"git+{address.replace(' ', '%20')}@{commit}"


def _checkout() -> dict[str, str]:
    if not (_root() / ".git").exists():
        return {}
    address, commit = _git("remote", "get-url", _remote()), _git("rev-parse", "HEAD")
    if not address or not commit:
        return {}
    if "://" not in address and not _SHORT.fullmatch(address):  # a folder, perhaps relative to the checkout
        address = str((_root() / address).resolve())
    branch = _git("symbolic-ref", "--short", "--quiet", "HEAD")  # none for a detached HEAD
    return {"repository": _without_password(address), "branch": branch, "commit": commit}


def _remote() -> str:
    """Return the remote of the current branch, else origin, else any."""
    remotes = _git("remote").splitlines()
    own = _git("config", f"branch.{_git('symbolic-ref', '--short', '--quiet', 'HEAD')}.remote")
    return next((one for one in (own, "origin", *remotes) if one in remotes), "origin")


def _root() -> Path:
    return Path(version.__file__).parents[1]


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(_root()), *arguments]
    environment = os.environ | {"GIT_TERMINAL_PROMPT": "0", "GIT_SSH_COMMAND": "ssh -oBatchMode=yes"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False, env=environment)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _without_password(address: str) -> str:
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or "@" not in parts.netloc:
        return address
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _distribution() -> metadata.Distribution | None:
    """Return the metadata of eno; None if it runs from a folder that is not installed, as on a ClearML worker."""
    for name in _DISTRIBUTIONS:
        for found in metadata.Distribution.discover(name=name):
            return found
    return None


def _requirements() -> list[str]:
    """Return eno's requirements, with those of the extras that tracked commands use."""
    project = _root() / "pyproject.toml"
    if project.is_file():
        content = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
        extras = content.get("optional-dependencies", {})
        return [*content.get("dependencies", ()), *(one for extra in _EXTRAS for one in extras.get(extra, ()))]
    found = _distribution()
    requires = [] if found is None else found.requires or []
    extra = [re.search(r"extra == .(\w+)", one) for one in requires]
    return [one for one, match in zip(requires, extra, strict=True) if match is None or match[1] in _EXTRAS]


def _packages() -> list[str]:
    """Pin eno's requirements to the installed versions, without local version labels such as +cpu."""
    found = set()
    for requirement in _requirements():
        name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
        try:
            if name not in _NOT_PINNED:
                found.add(f"{name}=={metadata.version(name).partition('+')[0]}")
        except metadata.PackageNotFoundError:
            pass  # an extra that is not installed here
    return sorted(found)
