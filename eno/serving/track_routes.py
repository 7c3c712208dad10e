"""The routes of ``/v1`` that ask about tracks; `eno.serving.inference_routes` has those that take files."""

from __future__ import annotations

import asyncio
import gzip
import mimetypes
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import FileResponse, Response

from eno import __version__
from eno.encoders.text import TextEncoder
from eno.serving import schemas, serialise
from eno.serving.errors import Problem, problem_responses
from eno.serving.service import Service
from eno.serving.snapshot import Snapshot
from eno.serving.track_catalogue import TrackCatalogue
from eno.similarity import queries
from eno.similarity.sounds_like import SoundsLike
from eno.similarity.where import Where
from eno.training.feedback import Correction

router = APIRouter(prefix="/v1", responses=problem_responses(400, 401, 403, 421, 422, 500))

Offset = Annotated[int, Query(ge=0, le=10**9)]
Limit = Annotated[int, Query(ge=1, le=200)]
K = Annotated[int, Query(ge=1, le=100, description="How many")]


def the_service(request: Request) -> Service:
    """The service of the app."""
    service: Service = request.app.state.service
    return service


def the_snapshot(service: Annotated[Service, Depends(the_service)]) -> Snapshot:
    """What is served now."""
    return service.snapshot


def the_catalogue(snapshot: Annotated[Snapshot, Depends(the_snapshot)]) -> TrackCatalogue:
    """The catalogue.

    Raises
    ------
    Problem
        There is none.
    """
    if snapshot.catalogue is None:
        raise Problem(404, "This service has no tracks; start it with --store.")
    return snapshot.catalogue


def the_sounds(snapshot: Annotated[Snapshot, Depends(the_snapshot)]) -> SoundsLike:
    """What finds similar tracks.

    Raises
    ------
    Problem
        There is none.
    """
    if snapshot.sounds is None:
        raise Problem(404, "This service has no tracks; start it with --store.")
    return snapshot.sounds


class Filters:
    """How neighbours are chosen, as parameters of a request."""

    def __init__(
        self,
        k: K = 10,
        per_artist: Annotated[int, Query(ge=0, le=1000, description="At most so many by an artist; 0: any")] = 2,
        same_album: Annotated[bool, Query(description="Also from its own album")] = False,
        diversity: Annotated[float, Query(ge=0, le=1, description="How much results shall differ")] = 0.0,
        genre: Annotated[list[str] | None, Query(max_length=20, description="Only with any of these")] = None,
        descriptor: Annotated[list[str] | None, Query(max_length=20, description="Only with any of these")] = None,
    ) -> None:
        where = Where(genres=tuple(genre or ()), descriptors=tuple(descriptor or ()))
        self.options: dict[str, Any] = {
            "k": k, "per_artist": per_artist or None, "same_album": same_album, "diversity": diversity, "where": where
        }  # fmt: skip


TheService = Annotated[Service, Depends(the_service)]
TheSnapshot = Annotated[Snapshot, Depends(the_snapshot)]
TheCatalogue = Annotated[TrackCatalogue, Depends(the_catalogue)]
TheSounds = Annotated[SoundsLike, Depends(the_sounds)]
TheFilters = Annotated[Filters, Depends(Filters)]


def _row(catalogue: TrackCatalogue, track_id: str) -> int:
    row = catalogue.row_of(track_id)
    if row is None:
        raise Problem(404, f"There is no track {track_id!r}. GET /v1/tracks?q= finds tracks by name.")
    return row


@router.get("/info")
def info(service: TheService, snapshot: TheSnapshot) -> schemas.Info:
    """Say what this service can do."""
    limits = service.limits
    return schemas.Info(
        version=__version__,
        encoder=snapshot.encoder.spec.label,
        tags=0 if snapshot.predictor is None else len(snapshot.predictor.labels),
        tracks=0 if snapshot.catalogue is None else len(snapshot.catalogue),
        text=snapshot.sounds is not None and isinstance(snapshot.encoder, TextEncoder),
        max_bytes=limits.uploads.max_bytes,
        max_files=limits.uploads.max_files,
        max_duration_s=limits.max_duration_s,
    )


@router.get("/tags")
def all_tags(snapshot: TheSnapshot) -> schemas.Tags:
    """List the tags there are, and how many tracks have each."""
    return schemas.Tags(tags=serialise.known_tags(snapshot))


@router.get("/tracks", responses=problem_responses(404))
def tracks(
    catalogue: TheCatalogue,
    q: Annotated[str, Query(max_length=500, description="Words of title, artist, album or file name")] = "",
    offset: Offset = 0,
    limit: Limit = 50,
) -> schemas.Tracks:
    """List tracks, or find them by name."""
    found = catalogue.find(q, offset=offset, limit=limit)
    return schemas.Tracks(total=found.total, offset=offset, tracks=[schemas.Track(**one) for one in found.tracks])


# The routes with something behind the id come first: an id has slashes of its own.
@router.get("/tracks/{track_id:path}/similar", responses=problem_responses(404))
def similar_to_track(
    track_id: str, catalogue: TheCatalogue, sounds: TheSounds, chosen: TheFilters
) -> schemas.Neighbours:
    """Find what sounds like a track."""
    _row(catalogue, track_id)
    return serialise.neighbours(sounds.nearest(queries.of_track(sounds.tracks, track_id), **chosen.options))


@router.get(
    "/tracks/{track_id:path}/audio",
    response_class=FileResponse,
    responses={
        **problem_responses(404, 416),
        200: {"description": "The file", "content": {"audio/*": {}, "application/octet-stream": {}}},
        206: {"description": "The span that was asked for (Range)"},
    },
)
def audio(track_id: str, catalogue: TheCatalogue) -> FileResponse:
    """Give the audio file of a track; spans of it by the header Range."""
    _row(catalogue, track_id)
    path = catalogue.audio(track_id)
    if path is None:
        raise Problem(404, "The file of this track is not there, or not below the audio folder (--audio-root).")
    kind = mimetypes.guess_type(path.name)[0] or ""
    plain = "application/octet-stream"
    return FileResponse(path, media_type=kind if kind.startswith(("audio/", "video/")) else plain)


@router.get("/tracks/{track_id:path}", responses=problem_responses(404))
def track(track_id: str, catalogue: TheCatalogue, service: TheService) -> schemas.TrackDetail:
    """Tell all that is known of a track, and what the predictor says."""
    row = _row(catalogue, track_id)
    return schemas.TrackDetail(
        **catalogue.detail(row),
        tags=serialise.tags(catalogue.predicted(row), top=15),
        corrections=serialise.corrections(service.feedback.of_track(track_id)),
    )


@router.get("/map", response_class=Response, responses={
    **problem_responses(404), 200: {"description": "Input of createMap in map.js", "content": {"application/json": {}}},
})  # fmt: skip
async def collection_map(request: Request, snapshot: TheSnapshot, _catalogue: TheCatalogue) -> Response:
    """Give the map of the collection, as soon as it is drawn."""
    packed = await asyncio.shield(asyncio.wrap_future(snapshot.drawn))  # others wait for it too
    headers = {"Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(packed, media_type="application/json", headers=headers | {"Content-Encoding": "gzip"})
    return Response(gzip.decompress(packed), media_type="application/json", headers=headers)


@router.post("/feedback", status_code=201, responses=problem_responses(404))
def correct(said: schemas.CorrectionIn, service: TheService, catalogue: TheCatalogue) -> schemas.CorrectionOut:
    """Correct a tag of a track; 'eno train --feedback' learns from it."""
    _row(catalogue, said.track_id)
    spelled = serialise.spelled(service.snapshot, said.tag, said.family)
    if spelled is None:
        raise Problem(422, f"No tag is called {said.tag!r}. Give its family to add a word of your own.")
    correction = Correction(
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        track_id=said.track_id,
        tag=spelled[0],
        family=spelled[1],
        verdict=said.verdict,
    )
    service.feedback.append([correction])
    return serialise.corrections([correction])[0]


@router.get("/feedback")
def feedback(
    service: TheService,
    track_id: Annotated[str | None, Query(max_length=4096, description="Only of this track")] = None,
    offset: Offset = 0,
    limit: Limit = 50,
) -> schemas.Corrections:
    """List the corrections that count, the newest first."""
    said = (service.feedback.latest() if track_id is None else service.feedback.of_track(track_id))[::-1]
    page = serialise.corrections(said[offset : offset + limit])
    return schemas.Corrections(total=len(said), offset=offset, corrections=page)
