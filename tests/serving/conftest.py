"""A service with a small collection: 24 tracks, their audio and a predictor."""

import contextlib
import socket
import threading
import time

import numpy as np
import pytest
import uvicorn

from eno.data.labels.encoder import LabelEncoder
from eno.inference.predictor import EnoPredictor
from eno.models import create_head
from eno.models.familiarity import Familiarity
from eno.serving.app import create_app
from eno.serving.connections import PunctualProtocol
from eno.serving.service import Limits, Service
from eno.serving.snapshot import Sources
from eno.serving.uploads import UploadLimits
from eno.similarity.index.build import build_index
from tests.similarity.small_collection import POLICY, OwnEncoder, build

LABELS = LabelEncoder(["Slowcore", "Ambient"], ["rain"])
LIMITS = Limits(
    uploads=UploadLimits(max_bytes=3_000_000, max_files=3, idle_s=1.0),
    max_duration_s=60.0,
    decode_timeout_s=20.0,
    decoders=1,
    watch_s=0.05,
)


def save_predictor(store, folder, *, folders=("SR", "Low", "Grouper"), encoder=None, labels=LABELS):
    """Train a predictor whose labels stand for folders of tracks."""
    names, vectors = store.matrix()
    truth = np.array([[name.startswith(one) for one in folders] for name in names], np.float32)
    head = create_head("knn", k=(3,))
    head.fit(vectors, truth, vectors, truth)
    familiarity = Familiarity.fit(np.repeat(vectors, 3, axis=0), np.arange(3 * len(vectors)))
    EnoPredictor(encoder or OwnEncoder(), head, labels, policy=POLICY, familiarity=familiarity).save(folder)


@pytest.fixture(scope="session")
def collection(tmp_path_factory):
    data, store = build(tmp_path_factory.mktemp("served"), OwnEncoder())
    build_index(store)
    save_predictor(store, data.root / "model")
    return data, store


def make_service(collection, folder, *, encoder=None, model="model", stored=True, limits=LIMITS):
    data, store = collection
    sources = Sources(
        model=None if model is None else data.root / model,
        store=store.path if stored else None,
        data_root=data.root,
        map_method="pca",
    )
    return Service(sources, encoder or OwnEncoder(), feedback=folder / "feedback.jsonl", limits=limits)


@contextlib.contextmanager
def running(service, access=None, **options):
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        config = uvicorn.Config(
            create_app(service, access, **options),
            http=PunctualProtocol,
            log_level="warning",
            timeout_graceful_shutdown=20,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [found]}, daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive(), "the service did not start"
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{found.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(30)
            assert not thread.is_alive(), "the service did not stop"


@pytest.fixture(scope="module")
def service(collection, tmp_path_factory):
    return make_service(collection, tmp_path_factory.mktemp("feedback"))


@pytest.fixture(scope="module")
def address(service):
    with running(service) as address:
        yield address
