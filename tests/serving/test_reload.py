"""A reload that fails is visible, and tried again."""

import asyncio
import shutil
from dataclasses import replace

import httpx
import pytest

from eno.serving.service import Service
from eno.serving.snapshot import Snapshot, Sources
from tests.serving.conftest import LIMITS, running
from tests.similarity.small_collection import OwnEncoder


@pytest.fixture
def model(collection, tmp_path):
    return shutil.copytree(collection[0].root / "model", tmp_path / "model")


@pytest.fixture
def service(collection, model, tmp_path):
    sources = Sources(model=model, store=collection[1].path, data_root=collection[0].root, map_method="pca")
    return Service(sources, OwnEncoder(), feedback=tmp_path / "feedback.jsonl", limits=replace(LIMITS, watch_s=0.02))


async def until(condition):
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen")


def test_it_is_tried_again_although_the_files_that_are_watched_are_the_same(service, model):
    async def scenario():
        head, first = model / "head", service.snapshot
        await service.start()
        head.rename(model / "hidden")  # as on a share that is away for a moment
        (model / "predictor.json").touch()
        await until(lambda: service.outdated)
        assert service.snapshot is first
        (model / "hidden").rename(head)
        await until(lambda: not service.outdated)
        assert service.snapshot is not first
        await service.close()

    asyncio.run(scenario())


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), MemoryError(), ValueError("damaged")])
def test_any_error_is_tried_again_less_and_less_often(service, monkeypatch, caplog, error):
    def fail(*_arguments):
        raise error

    monkeypatch.setattr(Snapshot, "open", fail)
    for _ in range(20):
        assert not asyncio.run(service.reload())
    waits = [record.args[0] for record in caplog.records]
    assert waits == sorted(waits)
    assert (waits[0], waits[-1]) == (0.04, 300)


def test_health_and_metrics_say_so(service, monkeypatch):
    with running(service) as address, httpx.Client(base_url=address) as ask:
        assert ask.get("/healthz").json()["outdated"] is False
        assert "eno_outdated 0.0" in ask.get("/metrics").text
        monkeypatch.setattr(Snapshot, "open", lambda *_arguments: 1 / 0)
        asyncio.run(service.reload())
        assert ask.get("/healthz").json() == {"status": "ok", "outdated": True}
        assert ask.get("/readyz").status_code == 200
        assert "eno_outdated 1.0" in ask.get("/metrics").text
