"""The routes of ``/v1`` that use the model. Concurrent requests are limited; a disconnected client cancels its own."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from eno.errors import AudioError
from eno.inference.predictor import EnoPredictor
from eno.serving import schemas, serialise
from eno.serving.batching import EncodedFile, Windows
from eno.serving.errors import Problem, of_error, problem_responses
from eno.serving.routes.tracks import TheFilters, TheService, TheSnapshot, TheSounds
from eno.serving.service import Service, while_connected
from eno.serving.snapshot import Snapshot
from eno.serving.uploads import Upload, receive_uploads
from eno.similarity import queries, query_audio
from eno.similarity.query import Query as TextQuery
from eno.similarity.sounds_like import SoundsLike
from eno.spec import label_of

router = APIRouter(prefix="/v1", responses=problem_responses(400, 401, 403, 408, 413, 415, 421, 422, 500, 503, 507))

_BINARY = {"type": "string", "format": "binary"}
_TAKES_FILES: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"file": {"type": "array", "items": _BINARY, "minItems": 1}},
                    "required": ["file"],
                },
                "encoding": {"file": {"contentType": "audio/*"}},
            },
            "application/octet-stream": {"schema": _BINARY},
        },
    }
}
Top = Annotated[int, Query(ge=0, le=1000, description="Tags per family, besides those above their thresholds")]


async def _encode_all(
    service: Service, uploads: list[Upload], predictor: EnoPredictor
) -> list[EncodedFile | AudioError]:
    windows = list(zip(predictor.encoders, predictor.policies, strict=True))
    slots = asyncio.Semaphore(service.limits.decoders)  # so that a request with many files does not block the others

    async def encode(upload: Upload) -> EncodedFile | AudioError:
        async with slots:
            try:
                return await service.encode_file(upload, windows, predictor)
            except AudioError as error:
                return error

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(encode(upload)) for upload in uploads]
    return [task.result() for task in tasks]


@router.post("/tag", openapi_extra=_TAKES_FILES, responses=problem_responses(404))
async def tag(request: Request, service: TheService, snapshot: TheSnapshot, top: Top = 10) -> schemas.Tagged:
    """Tag one or more audio files."""
    predictor = snapshot.predictor
    if predictor is None:
        raise Problem(404, "This service has no predictor. Restart it with --model MODEL.")
    service.request_limit.check()
    async with receive_uploads(request, service.uploads, service.limits.uploads) as uploads:
        with service.request_limit.enter():  # not while the client sends, so that slow ones do not keep others waiting
            encoded = await while_connected(request, _encode_all(service, uploads, predictor))
    if len(encoded) == 1 and isinstance(encoded[0], AudioError):
        raise of_error(encoded[0])
    files = [serialise.tagged(upload, predictor, one, top=top) for upload, one in zip(uploads, encoded, strict=True)]
    return schemas.Tagged(encoder=label_of(predictor.specs), files=files)


@router.post("/similar", openapi_extra=_TAKES_FILES, responses=problem_responses(404))
async def similar_to_file(
    request: Request, service: TheService, snapshot: TheSnapshot, sounds: TheSounds, filters: TheFilters, top: Top = 10
) -> schemas.SimilarToFile:
    """Find tracks similar to an audio file, and tag the file."""
    service.request_limit.check()
    async with receive_uploads(request, service.uploads, service.limits.uploads) as uploads:
        if len(uploads) > 1:
            raise Problem(422, f"The form has {len(uploads)} files; send one per request.")
        with service.request_limit.enter():
            work = service.encode_file(uploads[0], _windows(snapshot, sounds), snapshot.predictor)
            encoded = await while_connected(request, work)

        def find() -> schemas.Neighbours:
            audio = query_audio.EncodedAudio(encoded.vectors[0], encoded.starts_s[0], encoded.duration_s)
            query = queries.of_audio(
                sounds.tracks, audio, sounds.store.spec, name=uploads[0].name, probabilities=encoded.probabilities
            )
            return serialise.neighbours(sounds.nearest(query, **filters.options))

        found = await asyncio.to_thread(find)
    return schemas.SimilarToFile(**dict(found), file=serialise.tagged(uploads[0], snapshot.predictor, encoded, top=top))


def _windows(snapshot: Snapshot, sounds: SoundsLike) -> Windows:
    """Return the encoder of the searched store first, then the others that the predictor needs."""
    searched = sounds.store.spec.fingerprint
    windows = [(one, sounds.store.policy) for one in snapshot.encoders if one.spec.fingerprint == searched]
    if snapshot.predictor is not None:
        of_predictor = zip(snapshot.predictor.encoders, snapshot.predictor.policies, strict=True)
        windows += [(one, policy) for one, policy in of_predictor if one.spec.fingerprint != searched]
    return windows


@router.get("/search", responses=problem_responses(404))
async def search(
    request: Request,
    service: TheService,
    sounds: TheSounds,
    filters: TheFilters,
    text: Annotated[str, Query(min_length=1, max_length=500, examples=["sad piano with rain"])],
) -> schemas.Neighbours:
    """Find tracks by a description; needs an encoder with a text tower (clap, laion)."""

    async def encode_text() -> TextQuery:
        call = await asyncio.to_thread(service.encoder_queue.call, lambda: sounds.text(text))
        query: TextQuery = await asyncio.wrap_future(call)
        return query

    with service.request_limit.enter():
        query = await while_connected(request, encode_text())
        found = await asyncio.to_thread(lambda: sounds.nearest(query, **filters.options))
    return serialise.neighbours(found)
