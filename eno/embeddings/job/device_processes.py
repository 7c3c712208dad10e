"""One process per device, each with its share of the tracks."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import connection
from typing import Any

from eno.audio.windows import WindowPolicy
from eno.audio.workers.pool import FILE_TIMEOUT_S
from eno.audio.workers.processes import end_with_parent, start_process
from eno.cores import usable_cores
from eno.embeddings.job.executor import Result, Task
from eno.embeddings.job.pipeline import LocalExecutor, load_again
from eno.errors import EnoError
from eno.spec import EncoderSpec

_WATCH_S = 0.5


class DevicesExecutor:
    """Embeds tracks on several devices, such as ``["cuda:0", "cuda:1"]``, with one process for each.

    `workers` is the number of decoding processes of all devices together; one per core by default.
    """

    def __init__(
        self,
        spec: EncoderSpec,
        policy: WindowPolicy,
        devices: Sequence[str],
        *,
        dtype: str = "auto",
        workers: int | None = None,
        file_timeout_s: float = FILE_TIMEOUT_S,
    ) -> None:
        self._devices = list(devices)
        each = max(1, (workers or usable_cores()) // len(self._devices))
        self._settings = {"spec": spec, "policy": policy, "dtype": dtype, "workers": each}
        self._settings |= {"file_timeout_s": file_timeout_s, "threads": max(1, usable_cores() // len(self._devices))}

    def __call__(self, tasks: Sequence[Task], stop: Callable[[], bool]) -> Iterator[Result]:
        """Embed tracks; raise EnoError if the process of a device fails or is killed."""
        if not tasks:
            return
        pipes: dict[Any, str] = {}
        processes = []
        try:
            for place, device in enumerate(self._devices):
                share = tasks[place :: len(self._devices)]
                process, pipe = start_process(_embed_share, share, device, self._settings, daemon=False)
                processes.append(process)
                pipes[pipe] = device
            yield from _gather(pipes, stop)
        finally:
            for process in processes:
                process.kill()
                process.join()


def _gather(pipes: dict[Any, str], stop: Callable[[], bool]) -> Iterator[Result]:
    is_stopping = False
    while pipes:
        if stop() and not is_stopping:
            is_stopping = True
            for pipe in pipes:
                pipe.send("stop")
        answering: list[Any] = list(connection.wait(list(pipes), timeout=_WATCH_S))
        for pipe in answering:
            try:
                message = pipe.recv()
            except (EOFError, OSError):
                raise EnoError(
                    f"The process of device {pipes[pipe]} was killed. What is done is saved; run the same command "
                    "again to continue."
                ) from None
            if message is None:
                del pipes[pipe]
            elif isinstance(message, str):
                raise EnoError(f"Device {pipes[pipe]}: {message}")
            else:
                yield message


def _embed_share(pipe: connection.Connection, tasks: Sequence[Task], device: str, settings: dict[str, Any]) -> None:
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)  # they reach all processes; the parent decides
    end_with_parent()
    try:
        encoder = load_again(settings["spec"], device=device, dtype=settings["dtype"], threads=settings["threads"])
        executor = LocalExecutor(
            encoder, settings["policy"], workers=settings["workers"], file_timeout_s=settings["file_timeout_s"]
        )
        for result in executor(tasks, stop=pipe.poll):
            pipe.send(result)
        pipe.send(None)
    except Exception as error:
        pipe.send(str(error) if isinstance(error, EnoError) else f"{type(error).__name__}: {error}")
