"""The routes of ``/v1/map``: the points of the map, and what a page asks for about some of them."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from eno.serving import schemas
from eno.serving.drawn_map import DrawnMap
from eno.serving.errors import Problem, problem_responses
from eno.serving.routes.tracks import UNCHANGED, TheCatalogue, TheSnapshot, only_json

router = APIRouter(prefix="/v1/map", responses=problem_responses(400, 401, 403, 404, 421, 422, 500))


class MapNeighbour(BaseModel):
    """A similar track, as a point of the map."""

    row: int
    score: float


class MapTrack(schemas.Track):
    """A track on the map."""

    row: int = Field(description="Number of its point")
    tags: list[str] = Field(description="Its tags, the most probable first")
    neighbours: list[MapNeighbour] = Field(description="The most similar tracks of the map")


class MapTracks(BaseModel):
    """Tracks on the map, in the order in which they were asked for."""

    tracks: list[MapTrack]


class MapQuestion(BaseModel):
    """Tracks whose points are wanted."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    version: str = Field(max_length=64, description="The version of the map that the question is about")
    track_ids: list[str] = Field(max_length=200)


class MapRows(BaseModel):
    """Numbers of points, in the order of the tracks; null for tracks that the map does not show."""

    rows: list[int | None]


Version = Annotated[str, Query(max_length=64, description="The version of the map that the question is about")]
_JSON: dict[str, Any] = {"content": {"application/json": {}}}


async def the_map(snapshot: TheSnapshot, _catalogue: TheCatalogue) -> DrawnMap:
    """Return the map; waits until it is drawn."""
    return await asyncio.shield(asyncio.wrap_future(snapshot.map))  # shared with other requests


TheMap = Annotated[DrawnMap, Depends(the_map)]


def _check(drawn: DrawnMap, version: str) -> None:
    if version != drawn.version:
        raise Problem(409, "The map has changed. Load it again.", version=drawn.version)


@router.get("", response_class=Response, responses={
    200: {"description": "Points of the map, as eno.mapping.map_points packs them", **_JSON},
    304: {"description": UNCHANGED},
})  # fmt: skip
async def points(request: Request, drawn: TheMap) -> Response:
    """Return the points of the map of the collection and their colours; waits until it is drawn."""
    return drawn.answer.answer(request)


@router.get("/tracks", responses=problem_responses(409))
def tracks(
    drawn: TheMap, version: Version, row: Annotated[list[int], Query(min_length=1, max_length=100)]
) -> MapTracks:
    """Return the tracks at some points, with their tags and neighbours."""
    _check(drawn, version)
    if not all(0 <= one < len(drawn) for one in row):
        raise Problem(422, f"The map has {len(drawn)} points, numbered from 0.")
    return MapTracks(tracks=[MapTrack(**drawn.track(one)) for one in row])


@router.post("/rows", dependencies=[Depends(only_json)], responses=problem_responses(408, 409, 413, 415))
def rows(body: MapQuestion, drawn: TheMap) -> MapRows:
    """Return the points of some tracks."""
    _check(drawn, body.version)
    return MapRows(rows=drawn.rows_of(body.track_ids))


@router.get("/tags/{code}", response_class=Response, responses={
    **problem_responses(409), 200: {"description": "A number from 0 to 255 for each point", **_JSON},
    304: {"description": UNCHANGED},
})  # fmt: skip
def tag(request: Request, code: int, version: Version, drawn: TheMap) -> Response:
    """Return how probable a tag of the map is for each point."""
    _check(drawn, version)
    if not 0 <= code < drawn.tags:
        raise Problem(404, f"The map has {drawn.tags} tags, numbered from 0.")
    return drawn.strengths(code).answer(request)
