"""The routes of ``/v1`` about tracks, which need no encoder; see `eno.serving.routes.inference` for the others."""

from __future__ import annotations

import mimetypes
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from eno.encoders.text import TextEncoder
from eno.serving import schemas, serialise
from eno.serving.cacheable import Cacheable
from eno.serving.errors import Problem, problem_responses
from eno.serving.requests import AudioFile
from eno.serving.service import Service
from eno.serving.snapshot import Snapshot
from eno.serving.track_catalogue import TrackCatalogue
from eno.similarity import queries
from eno.similarity.lookup import listed
from eno.similarity.sounds_like import SoundsLike
from eno.similarity.where import Where, family_and_label
from eno.spec import label_of
from eno.training.feedback import Correction
from eno.version import __version__

router = APIRouter(prefix="/v1", responses=problem_responses(400, 401, 403, 421, 422, 500))

Offset = Annotated[int, Query(ge=0, le=10**9)]
Limit = Annotated[int, Query(ge=1, le=200)]
K = Annotated[int, Query(ge=1, le=100, description="Number of tracks")]
_ANY_OF = "Only tracks with one of these"
_NO_TRACKS = "This service has no tracks. Restart it with --store STORE."
UNCHANGED = "The client has the present content (If-None-Match)"
_CANDIDATES = 100
_LISTED_TAGS = 15  # of each family, besides those above their thresholds


def the_service(request: Request) -> Service:
    """Return the service of the app."""
    service: Service = request.app.state.service
    return service


def the_snapshot(service: Annotated[Service, Depends(the_service)]) -> Snapshot:
    """Return the current snapshot."""
    return service.snapshot


def the_catalogue(snapshot: Annotated[Snapshot, Depends(the_snapshot)]) -> TrackCatalogue:
    """Return the catalogue; 404 without a store."""
    if snapshot.catalogue is None:
        raise Problem(404, _NO_TRACKS)
    return snapshot.catalogue


def the_sounds(snapshot: Annotated[Snapshot, Depends(the_snapshot)]) -> SoundsLike:
    """Return the similarity search; 404 without a store."""
    if snapshot.sounds is None:
        raise Problem(404, _NO_TRACKS)
    return snapshot.sounds


class Filters:
    """Query parameters for similar tracks."""

    def __init__(
        self,
        k: K = 10,
        per_artist: Annotated[int, Query(ge=0, le=1000, description="Tracks per artist; 0 for any number")] = 2,
        same_album: Annotated[bool, Query(description="Include tracks of the same album")] = False,
        diversity: Annotated[
            float, Query(ge=0, le=1, description="Trade similarity for variety among the results")
        ] = 0.0,
        genre: Annotated[list[str] | None, Query(max_length=20, description=_ANY_OF)] = None,
        descriptor: Annotated[list[str] | None, Query(max_length=20, description=_ANY_OF)] = None,
        label: Annotated[
            list[str] | None,
            Query(
                max_length=20,
                description="FAMILY=NAME, such as instruments=organ: of each family, only tracks with one of these",
            ),
        ] = None,
    ) -> None:
        where = Where(
            genres=tuple(genre or ()),
            descriptors=tuple(descriptor or ()),
            labels=tuple(map(family_and_label, label or ())),
        )
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
        found = catalogue.like_name(track_id)
        if found:
            match = "1 track matches it" if len(found) == 1 else f"{len(found):,} tracks match it"
            raise Problem(
                404, f"No track has the id {track_id!r}, but {match}. {listed(found)}", candidates=found[:_CANDIDATES]
            )
        raise Problem(404, f"No track {track_id!r}. Search by name: GET /v1/tracks?q=WORDS.")
    return row


@router.get("/info")
def info(service: TheService, snapshot: TheSnapshot) -> schemas.Info:
    """Describe what this service offers."""
    limits = service.limits
    return schemas.Info(
        version=__version__,
        encoder=label_of([encoder.spec for encoder in snapshot.encoders]),
        tags=0 if snapshot.predictor is None else len(snapshot.predictor.labels),
        tracks=0 if snapshot.catalogue is None else len(snapshot.catalogue),
        text=snapshot.sounds is not None and isinstance(snapshot.sounds.encoder, TextEncoder),
        max_bytes=limits.uploads.max_bytes,
        max_files=limits.uploads.max_files,
        max_duration_s=limits.max_duration_s,
    )


@router.get("/tags", response_model=schemas.Tags, responses={304: {"description": UNCHANGED}})
def all_tags(request: Request, snapshot: TheSnapshot) -> Response:
    """List the vocabulary, with the number of tracks for each tag."""
    content = schemas.Tags(tags=serialise.known_tags(snapshot)).model_dump_json()
    return Cacheable.of(content.encode()).answer(request)


@router.get("/tracks", responses=problem_responses(404))
def tracks(
    catalogue: TheCatalogue,
    q: Annotated[str, Query(max_length=500, description="Words in title, artist, album or path")] = "",
    offset: Offset = 0,
    limit: Limit = 50,
) -> schemas.Tracks:
    """List tracks, or search them by name."""
    total, found = catalogue.find(q, offset=offset, limit=limit)
    return schemas.Tracks(total=total, offset=offset, tracks=[schemas.Track(**one) for one in found])


# Longer routes come first, because track ids contain slashes.
@router.get("/tracks/{track_id:path}/similar", responses=problem_responses(404))
def similar_to_track(
    track_id: str, catalogue: TheCatalogue, sounds: TheSounds, filters: TheFilters
) -> schemas.Neighbours:
    """Find tracks similar to a track."""
    _row(catalogue, track_id)
    return serialise.neighbours(sounds.nearest(queries.of_track(sounds.tracks, track_id), **filters.options))


@router.get(
    "/tracks/{track_id:path}/audio",
    response_class=AudioFile,
    responses={
        **problem_responses(404, 416),
        200: {"description": "The file", "content": {"audio/*": {}, "application/octet-stream": {}}},
        206: {"description": "The requested range"},
    },
)
def audio(track_id: str, catalogue: TheCatalogue) -> AudioFile:
    """Return the audio file of a track, or the range in the Range header. A section of a file is not cut out of it."""
    _row(catalogue, track_id)
    path = catalogue.audio(track_id)
    if path is None:
        raise Problem(404, "The audio file of this track is missing, or outside the audio folder (--audio-root).")
    kind = mimetypes.guess_type(path.name)[0] or ""
    plain = "application/octet-stream"
    return AudioFile(path, media_type=kind if kind.startswith(("audio/", "video/")) else plain)


@router.get("/tracks/{track_id:path}", responses=problem_responses(404))
def track(track_id: str, catalogue: TheCatalogue, service: TheService) -> schemas.TrackDetail:
    """Return a track with its predicted tags and its corrections."""
    row = _row(catalogue, track_id)
    return schemas.TrackDetail(
        **catalogue.detail(row),
        tags=serialise.tags(catalogue.predicted(row), top=_LISTED_TAGS),
        **serialise.familiarity(catalogue.familiarity(row)),
        corrections=serialise.corrections(service.feedback.of_track(track_id)),
    )


def only_json(request: Request) -> None:
    """Refuse bodies of other types; pages of other sites can send only those without asking first."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Problem(415, "Send JSON with the header 'Content-Type: application/json'.")


@router.post(
    "/feedback", status_code=201, dependencies=[Depends(only_json)], responses=problem_responses(404, 408, 413, 415)
)
def correct(body: schemas.CorrectionIn, service: TheService, catalogue: TheCatalogue) -> schemas.CorrectionOut:
    """Correct a tag of a track, for 'eno train --feedback'."""
    _row(catalogue, body.track_id)
    spelling = serialise.spelling(service.snapshot, body.tag, body.family)
    if spelling is None:
        raise Problem(422, f"Unknown tag {body.tag!r}. Specify its family to add a new tag.")
    correction = Correction(
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        track_id=body.track_id,
        tag=spelling[0],
        family=spelling[1],
        verdict=body.verdict,
    )
    service.feedback.append([correction])
    return serialise.corrections([correction])[0]


@router.get("/feedback")
def feedback(
    service: TheService,
    track_id: Annotated[str | None, Query(max_length=4096, description="Only corrections of this track")] = None,
    offset: Offset = 0,
    limit: Limit = 50,
) -> schemas.Corrections:
    """List the latest correction of each tag, the newest first."""
    found = (service.feedback.latest() if track_id is None else service.feedback.of_track(track_id))[::-1]
    page = serialise.corrections(found[offset : offset + limit])
    return schemas.Corrections(total=len(found), offset=offset, corrections=page)
