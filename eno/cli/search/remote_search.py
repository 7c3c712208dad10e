"""Search by means of a running ``eno serve``."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eno.cli.serving import TOKEN
from eno.errors import ConfigError, EnoError, SimilarityError
from eno.files import AudioRoots, printable
from eno.similarity.search_result import Neighbour, SearchResult

_TIMEOUT_S = 120.0
_UNAUTHORISED = 401


def ask(url: str, search: Mapping[str, Any]) -> SearchResult:
    """Send a search, with the fields of `eno.serving.schemas.SearchIn`, to the service at a URL.

    Raises
    ------
    SimilarityError
        What the service says is wrong with the search.
    ConfigError
        There is no service at the URL, or it needs a token.
    """
    if not url.startswith(("http://", "https://")):
        raise ConfigError(f"--serve-url {url}: expected a URL such as http://127.0.0.1:8000.")
    headers = {"Content-Type": "application/json"}
    if token := os.environ.get(TOKEN, "").strip():
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(f"{url.rstrip('/')}/v1/neighbours", json.dumps(search).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
            body = json.load(answer)
        found = [Neighbour(**one | {"shared": tuple(one["shared"])}) for one in body["neighbours"]]
        return SearchResult(body["query"], tuple(found), tuple(body["notes"]), tuple(body["excluded_by"]))
    except urllib.error.HTTPError as error:
        raise _refusal(url, error) from error
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise ConfigError(f"--serve-url {url}: cannot be reached ({reason}). Is 'eno serve' running there?") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"--serve-url {url}: the answer is not that of 'eno serve' of this version.") from error


def _refusal(url: str, error: urllib.error.HTTPError) -> EnoError:
    """Return the error for a response that is one."""
    if error.code == _UNAUTHORISED:
        error.close()
        return ConfigError(f"--serve-url {url}: the service needs its token. Set it in the environment as {TOKEN}.")
    try:
        with error:
            return SimilarityError(json.load(error)["detail"])
    except (ValueError, KeyError, TypeError):
        return ConfigError(f"--serve-url {url}: answers {error.code} {error.reason}, unlike 'eno serve'.")


def name_of(name: str, roots: AudioRoots | None) -> str:
    """Return the name by which the service knows a track; for a file, its path below one of the audio folders.

    Raises
    ------
    ConfigError
        It is a file outside the audio folders, which would have to be encoded.
    """
    if not os.path.isfile(name):
        return name
    file = Path(name).resolve()
    for folder in () if roots is None else roots.folders:
        if file.is_relative_to(folder.resolve()):
            return printable(file.relative_to(folder.resolve()).as_posix())
    raise ConfigError(
        f"{printable(name)}: is not in the audio folders, so the service may not know it. Name its folder with "
        "--audio-root, or leave out --serve-url to search by any file."
    )
