"""The same job on a Ray cluster. Vectors are sent to the local process, which alone writes to the store."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from eno.audio.track_decoding import FileStamp
from eno.audio.windows import WindowPolicy
from eno.audio.workers.pool import FILE_TIMEOUT_S, WorkerPool
from eno.data.library.files import Track
from eno.embeddings.job.executor import Embedded, Failed, Result, Task, Untouched
from eno.embeddings.job.pipeline import LocalExecutor, embed_tracks, load_again
from eno.embeddings.store.parts import FILE_SCHEMA
from eno.errors import ConfigError, EnoError, MissingExtra
from eno.files import Section
from eno.spec import EncoderSpec

_TASKS = pa.schema(
    [("task", pa.int64()), ("file", pa.binary()), ("known_hash", pa.string()), ("section", pa.list_(pa.float64()))]
)
_RESULTS = pa.schema(
    [
        ("task", pa.int64()),
        ("reason", pa.string()),
        *FILE_SCHEMA,
        ("duration_s", pa.float64()),
        ("starts_s", pa.list_(pa.float64())),
        ("vectors", pa.binary()),
    ]
)


class RayExecutor:
    """Embeds tracks on the Ray cluster of ``$RAY_ADDRESS``, or on a local one.

    Files must have the same paths on all machines of the cluster, and eno must be installed there.

    Parameters
    ----------
    device : str
        With ``"auto"`` an actor has a GPU if the cluster has any; with ``"cpu"`` never.
    workers : int, optional
        Decoding processes of each actor, which reserves as many cores; by default 8 with a GPU, else 1.
    max_actors : int, optional
        By default as many as the cluster has room for, even while it grows.
    share : int, optional
        Tracks per request to an actor; by default 8 to 128. If an actor dies, its share is embedded again.
    """

    def __init__(
        self,
        spec: EncoderSpec,
        policy: WindowPolicy,
        *,
        device: str = "auto",
        dtype: str = "auto",
        workers: int | None = None,
        file_timeout_s: float = FILE_TIMEOUT_S,
        max_actors: int | None = None,
        share: int | None = None,
    ) -> None:
        self._spec, self._policy, self._device, self._dtype = spec, policy, device, dtype
        self._workers, self._file_timeout_s = workers, file_timeout_s
        self._max_actors, self._share = max_actors, share

    def __call__(self, tasks: Sequence[Task], stop: Callable[[], bool]) -> Iterator[Result]:
        """Embed tracks; see `eno.embeddings.job.executor.Executor`. `stop` drops the tasks under way.

        Raises
        ------
        MissingExtra
            Ray is not installed.
        ConfigError
            The cluster has no GPU, and one was asked for.
        EnoError
            An encoder failed, and not because of a single file.
        """
        if not tasks:
            return
        ray = _import_ray()
        if not ray.is_initialized():
            ray.init(log_to_driver=False, include_dashboard=False)
        try:
            batches: Any = self._dataset(ray, tasks).iter_batches(batch_size=None, batch_format="pyarrow")
            for batch in batches:
                for row in batch.to_pylist():
                    yield self._result(tasks[row["task"]].track, row)
                if stop():
                    return
        except ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None) or error
            raise EnoError(f"Ray: {str(cause).strip().splitlines()[-1]}") from error

    def _dataset(self, ray: Any, tasks: Sequence[Task]) -> Any:
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False  # eno shows its own
        logging.getLogger("ray.data").setLevel(logging.WARNING)
        gpu = self._device != "cpu" and ray.cluster_resources().get("GPU", 0) > 0
        if self._device not in ("auto", "cpu") and not gpu:
            raise ConfigError(f"Device {self._device!r} cannot be used: the Ray cluster has no GPU.")
        workers = self._workers or (8 if gpu else 1)
        # Paths may hold bytes that are not UTF-8, which Arrow does not accept as text.
        rows = [
            {"task": number, "file": os.fsencode(task.track.file), "known_hash": task.known_hash}
            | {"section": task.track.section}
            for number, task in enumerate(tasks)
        ]
        share = self._share or min(128, max(8, len(rows) // 64))
        tables = [pa.Table.from_pylist(rows[first : first + share], _TASKS) for first in range(0, len(rows), share)]
        arguments = (self._spec, self._policy, "cuda" if gpu else "cpu", self._dtype, workers, self._file_timeout_s)
        # By default Ray Data restarts an actor that dies, and repeats its share.
        return ray.data.from_arrow(tables).map_batches(
            _Embedder,
            fn_constructor_args=arguments,
            batch_size=None,
            batch_format="pyarrow",
            num_cpus=workers,
            num_gpus=1 if gpu else 0,
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=self._max_actors),
        )

    def _result(self, track: Track, row: dict[str, Any]) -> Result:
        if row["reason"] is not None:
            return Failed(track, row["reason"])
        stamp = FileStamp(**{name: row[name] for name in FILE_SCHEMA.names})
        if row["vectors"] is None:
            return Untouched(track, stamp)
        shape = (len(row["starts_s"]), len(self._spec.layers), self._spec.dim)
        vectors = np.frombuffer(row["vectors"], np.float32).reshape(shape)
        return Embedded(track, stamp, row["duration_s"], np.array(row["starts_s"]), vectors)


class _Embedder:
    """An actor: an encoder with its decoding workers."""

    def __init__(
        self, spec: EncoderSpec, policy: WindowPolicy, device: str, dtype: str, workers: int, file_timeout_s: float
    ) -> None:
        self._encoder = load_again(spec, device=device, dtype=dtype, threads=workers)
        self._executor = LocalExecutor(self._encoder, policy, workers=workers, file_timeout_s=file_timeout_s)
        self._pool: WorkerPool | None = None

    def __call__(self, batch: pa.Table) -> pa.Table:
        if self._pool is None:
            self._pool = self._executor.pool()
        tasks = [
            Task(
                Track(
                    str(row["task"]),
                    "",
                    os.fsdecode(row["file"]),
                    section=None if row["section"] is None else Section(*row["section"]),
                ),
                row["known_hash"],
            )
            for row in batch.to_pylist()
        ]
        try:
            rows = [_row(result) for result in embed_tracks(self._encoder, self._pool, tasks, lambda: False)]
        except BaseException:
            self._pool.close()
            self._pool = None
            raise
        return pa.Table.from_pylist(rows, _RESULTS)


def _row(result: Result) -> dict[str, Any]:
    row: dict[str, Any] = {"task": int(result.track.id)}
    if isinstance(result, Failed):
        return row | {"reason": result.reason}
    row |= result.stamp._asdict()
    if isinstance(result, Untouched):
        return row
    vectors = np.ascontiguousarray(result.vectors, np.float32).tobytes()
    return row | {"duration_s": result.duration_s, "starts_s": result.starts_s, "vectors": vectors}


def _import_ray() -> Any:
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingExtra("ray", "ray[data]") from error
    return ray
