"""What the service takes and gives, for OpenAPI and for checking."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Family = Literal["genre", "descriptor"]

_TRACK: dict[str, Any] = {
    "id": "Low/2001 - Things We Lost/01 Sunflower.flac",
    "title": "Sunflower",
    "artist": "Low",
    "album": "Things We Lost in the Fire",
    "year": 2001,
    "duration_s": 278.2,
}
_TAG: dict[str, Any] = {"tag": "Slowcore", "family": "genre", "probability": 0.83, "threshold": 0.41, "named": True}


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True)


class Problem(_Model):
    """An error as RFC 9457 describes it."""

    model_config = ConfigDict(extra="allow")
    type: str = "about:blank"
    title: str
    status: int
    detail: str


class Tag(_Model):
    """A tag, and how sure the predictor is of it."""

    model_config = ConfigDict(json_schema_extra={"example": _TAG})
    tag: str
    family: Family
    probability: float = Field(ge=0, le=1)
    threshold: float = Field(description="The tag is named if its probability is above")
    named: bool


class Track(_Model):
    """A track of the collection."""

    model_config = ConfigDict(json_schema_extra={"example": _TRACK})
    id: str
    title: str | None
    artist: str | None
    album: str | None
    year: int | None
    duration_s: float | None


class CorrectionIn(_Model):
    """What somebody says of a tag of a track."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"track_id": _TRACK["id"], "tag": "Slowcore", "verdict": "accept"}},
    )
    track_id: str = Field(min_length=1, max_length=4096)
    tag: str = Field(min_length=1, max_length=200, pattern=r"\S")
    family: Family | None = Field(None, description="Needed only for a word that the predictor does not know")
    verdict: Literal["accept", "add", "reject", "withdraw"]


class CorrectionOut(_Model):
    """A correction that counts."""

    time: datetime
    track_id: str
    tag: str
    family: Family
    verdict: Literal["accept", "add", "reject", "withdraw"]


class TrackDetail(Track):
    """All that is known of a track."""

    genres: list[str] = Field(description="Of the catalogue")
    descriptors: list[str] = Field(description="Of the catalogue")
    audio: bool = Field(description="Whether it can be listened to")
    tags: list[Tag] = Field(description="What the predictor says, the likeliest first")
    corrections: list[CorrectionOut]


class Tracks(_Model):
    """A page of tracks."""

    total: int
    offset: int
    tracks: list[Track]


class Neighbour(Track):
    """A track that was found by its sound."""

    score: float = Field(description="Cosine, up to 1")
    shared: list[str] = Field(description="Tags that it has in common with what was asked for")


class Neighbours(_Model):
    """What sounds like something, the nearest first."""

    query: str
    neighbours: list[Neighbour]
    notes: list[str] = Field(description="What a person should know")


class TaggedFile(_Model):
    """The tags of a file, or why there are none."""

    name: str
    duration_s: float | None = None
    genres: list[str] = []
    descriptors: list[str] = []
    tags: list[Tag] = []
    problem: Problem | None = None


class Tagged(_Model):
    """The tags of files, in the order in which they were sent."""

    encoder: str = Field(examples=["musicnn-454219cbc6d1"])
    files: list[TaggedFile]


class SimilarToFile(Neighbours):
    """What sounds like a file, and its tags."""

    file: TaggedFile


class TagInfo(_Model):
    """A tag that there is."""

    tag: str
    family: Family
    tracks: int = Field(description="So many have it")


class Tags(_Model):
    """The tags there are."""

    tags: list[TagInfo]


class Corrections(_Model):
    """A page of corrections, the newest first."""

    total: int
    offset: int
    corrections: list[CorrectionOut]


class Info(_Model):
    """What this service can do."""

    version: str
    encoder: str
    tags: int = Field(description="How many the predictor knows; 0: nothing can be tagged")
    tracks: int = Field(description="How many are served; 0: nothing can be found")
    text: bool = Field(description="Whether a search by description is possible")
    max_bytes: int
    max_files: int
    max_duration_s: float


class State(_Model):
    """Whether the service is well."""

    status: Literal["ok", "starting", "stopping"]
