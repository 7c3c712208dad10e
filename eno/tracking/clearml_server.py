"""Whether a ClearML server answers, asked without the SDK, whose requests are repeated for hours."""

from __future__ import annotations

import threading
from collections.abc import Callable

import requests
from clearml.backend_api import Session
from clearml.backend_api.utils import get_http_session_with_retry

ANSWER_S = 5.0
"""Time after which a server is taken for silent."""
_PAUSE_S = 5.0
_FAILURES = 2  # in succession; a single lost request is no news


class _Ping:
    """Asks the configured server for a sign of life, with the configured certificates.

    It reads the configuration when it is created: the SDK's parser must not run in two threads at once.
    """

    def __init__(self) -> None:
        self._address = Session.get_api_server_host()
        self._session = get_http_session_with_retry(total=0)

    def problem(self) -> str | None:
        """Return None if the server answers, otherwise what happened."""
        address = self._address
        try:
            answer = self._session.get(f"{address.rstrip('/')}/debug.ping", timeout=ANSWER_S)
        except requests.Timeout:
            return f"{address}: no answer within {ANSWER_S:g} s"
        except requests.RequestException as error:
            return f"{address}: {_cause(error)}"
        return f"{address}: status {answer.status_code}" if answer.status_code in (502, 503, 504) else None


def server_problem() -> str | None:
    """Ask the configured server for a sign of life; return None if it gives one, otherwise what happened."""
    return _Ping().problem()


class ServerWatch:
    """Asks the server again and again in a thread, and reports when it stops answering and when it answers again.

    `report` is called with the problem, or with None when it is over.
    """

    def __init__(self, report: Callable[[str | None], None]) -> None:
        self._report, self._ping = report, _Ping()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        failures, pause = 0, threading.Event()
        while True:
            problem = self._ping.problem()
            if problem is None and failures >= _FAILURES:
                self._report(None)
            failures = failures + 1 if problem else 0
            if failures == _FAILURES:
                self._report(problem)
            pause.wait(_PAUSE_S if failures != 1 else 1.0)


def _cause(error: BaseException) -> str:
    """Return the error of the operating system that is behind one of requests."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return getattr(error, "strerror", None) or str(error)
