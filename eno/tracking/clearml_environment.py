"""ClearML's configuration, read without the SDK, which takes a second to import and hooks into the process."""

from __future__ import annotations

import os
from pathlib import Path

from eno.errors import ConfigError

MIN_NAME = 3
"""The fewest characters that a ClearML server accepts in the name of a task, project or model."""


def on_worker() -> bool:
    """Whether a ClearML agent runs this process."""
    return bool(_variable("TASK_ID"))


def configured() -> bool:
    """Whether the SDK would find credentials in a configuration file or in environment variables."""
    if on_worker() or (_variable("API_ACCESS_KEY") and _variable("API_SECRET_KEY")) or _variable("AUTH_TOKEN"):
        return True
    named = _variable("CONFIG_FILE")
    files = [Path(named).expanduser()] if named else [Path.home() / "clearml.conf", Path.home() / "trains.conf"]
    return any(file.is_file() for file in files)


def offline_by_environment() -> bool:
    """Whether ``CLEARML_OFFLINE_MODE`` is set."""
    return (_variable("OFFLINE_MODE") or "").lower() not in ("", "0", "false", "no", "off")


def check_name(what: str, name: str) -> None:
    """Refuse a name that the server would refuse: of a project, also those of the projects above it."""
    first = name.strip().strip("/").partition("/")[0] if what == "project" else name
    if len(first.strip()) < MIN_NAME:
        raise ConfigError(f"The {what} name {name!r} is too short: ClearML needs at least {MIN_NAME} characters.")


def _variable(name: str) -> str | None:
    return os.environ.get(f"CLEARML_{name}") or os.environ.get(f"TRAINS_{name}")
