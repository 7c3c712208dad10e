"""The route for searches with all options of ``eno similar``, which ``eno similar --serve-url`` calls."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

from fastapi import APIRouter, Depends, Request

from eno.serving import schemas
from eno.serving.errors import problem_responses
from eno.serving.routes.tracks import TheCatalogue, TheService, TheSounds, only_json
from eno.serving.service import while_connected
from eno.serving.track_catalogue import TrackCatalogue
from eno.similarity import queries
from eno.similarity.lookup import one_of, unknown_track
from eno.similarity.query import Query, combine
from eno.similarity.search_result import SearchResult
from eno.similarity.sounds_like import SoundsLike
from eno.similarity.where import Where

router = APIRouter(prefix="/v1", responses=problem_responses(400, 401, 403, 404, 408, 413, 415, 421, 422, 500, 503))


@router.post("/neighbours", dependencies=[Depends(only_json)])
async def neighbours(
    body: schemas.SearchIn, request: Request, service: TheService, catalogue: TheCatalogue, sounds: TheSounds
) -> schemas.Found:
    """Find tracks, or make a playlist, with any of the options of ``eno similar``."""

    async def find() -> SearchResult:
        text = None
        if body.text is not None:
            call = await asyncio.to_thread(service.encoder_queue.call, lambda: sounds.text(body.text or ""))
            text = await asyncio.wrap_future(call)
        return await asyncio.to_thread(_found, body, catalogue, sounds, text)

    with service.request_limit.enter():
        found = await while_connected(request, find())
    return schemas.Found(
        query=found.query,
        neighbours=[schemas.Neighbour(**asdict(one)) for one in found],
        notes=[*sounds.notes, *found.notes],
        excluded_by=list(found.excluded_by),
    )


def _found(body: schemas.SearchIn, catalogue: TrackCatalogue, sounds: SoundsLike, text: Query | None) -> SearchResult:
    tracks = sounds.tracks
    plus = [_of_track(catalogue, sounds, name) for name in body.tracks]
    plus += [queries.of_album(tracks, name) for name in body.albums]
    plus += [queries.of_artist(tracks, name) for name in body.artists]
    plus += [] if text is None else [text]
    plus += [queries.of_tags(tracks, body.tags)] if body.tags else []
    query = combine(plus, [_of_track(catalogue, sounds, name) for name in body.minus])
    where = Where(**body.where.model_dump())
    if body.minutes is None:
        return sounds.nearest(
            query, k=body.k, where=where, per_artist=body.per_artist, per_album=body.per_album,
            same_album=body.same_album, diversity=body.diversity,
        )  # fmt: skip
    return sounds.playlist(
        query, minutes=body.minutes, seed=body.seed, where=where, per_artist=body.per_artist,
        per_album=body.per_album, same_album=body.same_album,
    )  # fmt: skip


def _of_track(catalogue: TrackCatalogue, sounds: SoundsLike, name: str) -> Query:
    """Return the query of a track. A name is never taken for a file of this machine."""
    if catalogue.row_of(name) is None:
        found = one_of(name, catalogue.like_name(name))
        if found is None:
            raise unknown_track(name, sounds.tracks.names)
        name = found
    return queries.of_track(sounds.tracks, name)
