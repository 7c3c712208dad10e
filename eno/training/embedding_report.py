"""What an experiment tracker is told of an embedding job."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from eno import __version__
from eno.embeddings.job.embed import EmbedReport, Progress
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.tracking.experiment import Experiment

_STEPS = 200  # points of a curve


def progress_reporter(experiment: Experiment) -> Callable[[Progress], None]:
    """Give what tells of an embedding job while it runs: so many points at most, however long it takes."""
    last = 0

    def report(at: Progress) -> None:
        nonlocal last
        point = at.done * _STEPS // max(1, at.total)
        if point == last:
            return
        last = point
        experiment.scalar("rate", "tracks per second", at.tracks_per_s, at.done)
        experiment.scalar("rate", "hours of audio per hour", at.audio_hours_per_hour, at.done)
        experiment.scalar("failed", "tracks", at.failed, at.done)

    return report


def report_embedding(experiment: Experiment, report: EmbedReport, store: EmbeddingStore) -> None:
    """Tell of an embedding job that has ended, and of the store that it has filled."""
    for name in ("found", "embedded", "skipped", "failed", "left", "changed", "vanished", "seconds", "audio_s"):
        experiment.value(name, getattr(report, name))
    experiment.value("coverage", report.coverage)
    facts = {"store": str(store.path), "encoder": store.spec.to_dict(), "windows": asdict(store.policy)}
    experiment.describe("data", {**facts, "encoder_fingerprint": store.spec.fingerprint, "eno": __version__})
    experiment.table("failed tracks", ("path", "reason"), [(one.path, one.reason) for one in report.failures])
    experiment.tag(store.spec.label)
