"""The routes of ``/v1`` that need the model: they take files or texts, wait their turn, and end with their client."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from eno.audio.windows import WindowPolicy
from eno.errors import AudioError
from eno.inference.predictor import EnoPredictor
from eno.serving import schemas, serialise
from eno.serving.batching import EncodedFile
from eno.serving.errors import Problem, of_error, problem_responses
from eno.serving.service import Service, while_connected
from eno.serving.track_routes import TheFilters, TheService, TheSnapshot, TheSounds
from eno.serving.uploads import Upload, receive_uploads
from eno.similarity import queries, query_audio
from eno.similarity.query import Query as Sought

router = APIRouter(prefix="/v1", responses=problem_responses(400, 401, 403, 408, 413, 415, 421, 422, 500, 503))

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
Top = Annotated[int, Query(ge=0, le=1000, description="So many of the likeliest of each family, besides those named")]


async def _hear_all(
    service: Service, uploads: list[Upload], policy: WindowPolicy, predictor: EnoPredictor | None
) -> list[EncodedFile | AudioError]:
    """Hear several files, a few at a time, so that a request with many does not keep all others waiting."""
    turn = asyncio.Semaphore(service.limits.decoders)

    async def hear(upload: Upload) -> EncodedFile | AudioError:
        async with turn:
            try:
                return await service.hear(upload, policy, predictor)
            except AudioError as error:
                return error

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(hear(upload)) for upload in uploads]
    return [task.result() for task in tasks]


@router.post("/tag", openapi_extra=_TAKES_FILES, responses=problem_responses(404))
async def tag(request: Request, service: TheService, snapshot: TheSnapshot, top: Top = 10) -> schemas.Tagged:
    """Tag one or several audio files."""
    predictor = snapshot.predictor
    if predictor is None:
        raise Problem(404, "This service has no predictor; start it with --model.")
    with service.admission.enter():
        async with receive_uploads(request, service.folder, service.limits.uploads) as uploads:
            heard = await while_connected(request, _hear_all(service, uploads, predictor.policy, predictor))
    if len(heard) == 1 and isinstance(heard[0], AudioError):
        raise of_error(heard[0])
    files = [serialise.tagged(upload, predictor, one, top=top) for upload, one in zip(uploads, heard, strict=True)]
    return schemas.Tagged(encoder=snapshot.encoder.spec.label, files=files)


@router.post("/similar", openapi_extra=_TAKES_FILES, responses=problem_responses(404))
async def similar_to_file(
    request: Request, service: TheService, snapshot: TheSnapshot, sounds: TheSounds, chosen: TheFilters, top: Top = 10
) -> schemas.SimilarToFile:
    """Find what sounds like an audio file, and tag it."""
    with service.admission.enter():
        async with receive_uploads(request, service.folder, service.limits.uploads) as uploads:
            if len(uploads) > 1:
                raise Problem(422, f"The form holds {len(uploads)} files; one is compared at a time.")
            work = service.hear(uploads[0], sounds.store.policy, snapshot.predictor)
            heard = await while_connected(request, work)
        if heard.peak < query_audio.SILENCE:
            raise Problem(422, "The file is silent where it was listened to; silence sounds like nothing.")

        def find() -> schemas.Neighbours:
            of_file = query_audio.EncodedAudio(heard.vectors, heard.starts_s, heard.duration_s)
            query = queries.of_audio(sounds.tracks, of_file, snapshot.encoder, name=uploads[0].name)
            return serialise.neighbours(sounds.nearest(query, **chosen.options))

        found = await asyncio.to_thread(find)
    return schemas.SimilarToFile(**dict(found), file=serialise.tagged(uploads[0], snapshot.predictor, heard, top=top))


@router.get("/search", responses=problem_responses(404))
async def search(
    request: Request,
    service: TheService,
    sounds: TheSounds,
    chosen: TheFilters,
    text: Annotated[str, Query(min_length=1, max_length=500, examples=["sad piano with rain"])],
) -> schemas.Neighbours:
    """Find what a text describes, where the encoder has a text tower (clap, laion)."""

    async def understand() -> Sought:
        call = await asyncio.to_thread(service.engine.call, lambda: sounds.text(text))
        sought: Sought = await asyncio.wrap_future(call)
        return sought

    with service.admission.enter():
        query = await while_connected(request, understand())
        found = await asyncio.to_thread(lambda: sounds.nearest(query, **chosen.options))
    return serialise.neighbours(found)
