"""Bodies of requests and responses, for validation and OpenAPI."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from eno.data.families import family_name
from eno.errors import LabelError


def _family(text: str) -> str:
    try:
        return family_name(text)
    except LabelError as error:
        raise ValueError(str(error)) from error


_FAMILY = "genre, descriptor, or another family of tags, such as instruments"
Verdict = Literal["accept", "add", "reject", "withdraw"]

_TRACK: dict[str, Any] = {
    "track_id": "Low/2001 - Things We Lost/01 Sunflower.flac",
    "title": "Sunflower",
    "artist": "Low",
    "album": "Things We Lost in the Fire",
    "year": 2001,
    "duration_s": 278.2,
}
_TAG: dict[str, Any] = {"tag": "Slowcore", "family": "genre", "probability": 0.83, "threshold": 0.41, "named": True}
_FAMILIARITY = (
    "Share of the training tracks that are as far from those of other artists as this track is from all; null if the "
    "predictor does not know"
)
_UNFAMILIAR = "Whether the track is unlike those that the predictor was trained on, so that its tags are doubtful"
_TRACK_ID = "Path of the track below its audio folder"


Name = Annotated[str, Field(min_length=1, max_length=4096)]
Year = Annotated[int, Field(ge=-9999, le=9999)]
Seconds = Annotated[float, Field(ge=0, le=1e9)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True)


class Problem(_Model):
    """An error, as problem details (RFC 9457)."""

    model_config = ConfigDict(extra="allow")
    type: str = "about:blank"
    title: str
    status: int
    detail: str


class Tag(_Model):
    """A predicted tag."""

    model_config = ConfigDict(json_schema_extra={"example": _TAG})
    tag: str
    family: str = Field(description=_FAMILY)
    probability: float = Field(ge=0, le=1)
    threshold: float
    named: bool = Field(description="Whether the probability is above the threshold")


class Track(_Model):
    """A track of the collection."""

    model_config = ConfigDict(json_schema_extra={"example": _TRACK})
    track_id: str = Field(description=_TRACK_ID)
    title: str | None
    artist: str | None
    album: str | None
    year: int | None
    duration_s: float | None


class CorrectionIn(_Model):
    """A correction of a tag of a track."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"track_id": _TRACK["track_id"], "tag": "Slowcore", "verdict": "accept"}},
    )
    track_id: str = Field(min_length=1, max_length=4096, description=_TRACK_ID)
    tag: str = Field(min_length=1, max_length=200, pattern=r"\S")
    family: Annotated[str, AfterValidator(_family)] | None = Field(
        None, description=f"{_FAMILY}; required for a tag that the predictor does not know"
    )
    verdict: Verdict


class CorrectionOut(_Model):
    """The latest correction of a tag of a track."""

    time: datetime
    track_id: str = Field(description=_TRACK_ID)
    tag: str
    family: str = Field(description=_FAMILY)
    verdict: Verdict


class TrackDetail(Track):
    """A track with its tags."""

    genres: list[str] = Field(description="Genres in the catalogue")
    descriptors: list[str] = Field(description="Descriptors in the catalogue")
    others: dict[str, list[str]] = Field(default={}, description="Labels of other families in the catalogue")
    audio: bool = Field(description="Whether its audio can be played")
    section: tuple[float, float] | None = Field(
        default=None, description="Start and end in its audio file in seconds, if it is a part of that"
    )
    tags: list[Tag] = Field(description="Predicted tags, the most probable first")
    familiarity: float | None = Field(default=None, description=_FAMILIARITY)
    unfamiliar: bool = Field(default=False, description=_UNFAMILIAR)
    corrections: list[CorrectionOut]


class Tracks(_Model):
    """A page of tracks."""

    total: int
    offset: int
    tracks: list[Track]


class Neighbour(Track):
    """A similar track."""

    score: float = Field(description="Cosine similarity, at most 1")
    shared: list[str] = Field(description="Tags that it has in common with the query")


class Neighbours(_Model):
    """Similar tracks, the most similar first."""

    query: str
    neighbours: list[Neighbour]
    notes: list[str] = Field(description="Remarks for the user")


class WhereIn(_Model):
    """Conditions that tracks must meet, as in `eno.similarity.where.Where`."""

    model_config = ConfigDict(extra="forbid")
    genres: tuple[Name, ...] = Field(default=(), max_length=20, description="Only tracks with one of these")
    descriptors: tuple[Name, ...] = Field(default=(), max_length=20, description="Only tracks with one of these")
    labels: tuple[tuple[Name, Name], ...] = Field(
        default=(), max_length=20, description="Families and labels: of each family, only tracks with one of its labels"
    )
    artists: tuple[Name, ...] = Field(default=(), max_length=20, description="Only tracks by one of these")
    albums: tuple[Name, ...] = Field(default=(), max_length=20, description="Only tracks from one of these, by title")
    years: tuple[Year | None, Year | None] | None = Field(
        default=None, description="First and last year; null for an open end"
    )
    duration_s: tuple[Seconds | None, Seconds | None] | None = Field(
        default=None, description="Shortest and longest, likewise"
    )
    path: str | None = Field(default=None, max_length=4096, description="Start of the track id, or a pattern: */live/*")
    expression: str | None = Field(default=None, max_length=4096, description="SQL condition on the columns of a track")


class SearchIn(_Model):
    """A search with the options of ``eno similar``. Everything to sound like is combined into one query."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"tracks": [_TRACK["track_id"]], "k": 5, "per_artist": 1}}
    )
    tracks: tuple[Name, ...] = Field(
        default=(), max_length=20, description="Tracks: id, the end of one, title or file name"
    )
    albums: tuple[Name, ...] = Field(default=(), max_length=20, description="Albums, by title or id")
    artists: tuple[Name, ...] = Field(default=(), max_length=20)
    text: str | None = Field(default=None, min_length=1, max_length=500, description="A description, for text encoders")
    tags: tuple[Name, ...] = Field(default=(), max_length=20, description="Tags that the predictor knows")
    minus: tuple[Name, ...] = Field(
        default=(), max_length=20, description="Tracks that the results should be less like"
    )
    where: WhereIn = WhereIn()
    k: int = Field(default=10, ge=1, le=1000, description="Number of tracks")
    per_artist: int | None = Field(default=2, ge=1, le=1000, description="Tracks per artist; null for any number")
    per_album: int | None = Field(default=None, ge=1, le=1000, description="Tracks per album; null for any number")
    same_album: bool = Field(default=False, description="Include the query's own albums")
    diversity: float = Field(default=0.0, ge=0, le=1, description="Trade similarity for variety among the results")
    minutes: float | None = Field(default=None, gt=0, le=1440, description="Make a playlist of this length")
    seed: int = Field(default=0, ge=0, le=2**32, description="Random seed of the playlist")


class Found(Neighbours):
    """What a search found."""

    excluded_by: list[str] = Field(description="Options that excluded other tracks, if there are fewer than requested")


class TaggedFile(_Model):
    """The tags of a file, or the problem with it."""

    name: str
    duration_s: float | None = None
    genres: list[str] = []
    descriptors: list[str] = []
    others: dict[str, list[str]] = Field(default={}, description="Tags of other families, by family")
    tags: list[Tag] = []
    familiarity: float | None = Field(default=None, description=_FAMILIARITY)
    unfamiliar: bool = Field(default=False, description=_UNFAMILIAR)
    problem: Problem | None = None


class Tagged(_Model):
    """The tags of files, in the order of the request."""

    encoder: str = Field(examples=["musicnn-454219cbc6d1"])
    files: list[TaggedFile]


class SimilarToFile(Neighbours):
    """Tracks similar to a file, and the tags of the file."""

    file: TaggedFile


class TagInfo(_Model):
    """A tag of the vocabulary, and how common it is."""

    tag: str
    family: str = Field(description=_FAMILY)
    tracks: int = Field(description="Number of tracks with this tag")


class Tags(_Model):
    """The vocabulary."""

    tags: list[TagInfo]


class Corrections(_Model):
    """A page of corrections, the latest first."""

    total: int
    offset: int
    corrections: list[CorrectionOut]


class AlbumCandidate(_Model):
    """An album that files may belong to, and the evidence."""

    file_name: str
    artists: str
    name: str
    date: str
    score: str = Field(description="Probability that it is the album", examples=["0.712"])
    reason: str


class Question(_Model):
    """Files whose album is uncertain."""

    folder: str
    album: str
    artist: str
    year: str
    tracks: str
    candidates: list[AlbumCandidate]


class Questions(_Model):
    """A page of open questions."""

    total: int
    offset: int
    questions: list[Question]


class Answer(_Model):
    """The album of the files in a folder with an album tag; null if it is none of the candidates."""

    folder: str = Field(max_length=4096)
    album: str = Field(max_length=4096)
    accepted: str | None = Field(default=None, max_length=4096)


class Info(_Model):
    """What this service offers."""

    version: str
    encoder: str
    tags: int = Field(description="Tags that the predictor knows; 0 without a predictor")
    tracks: int = Field(description="Tracks in the index; 0 without an index")
    text: bool = Field(description="Whether tracks can be searched by a description")
    max_bytes: int
    max_files: int
    max_duration_s: float


class Health(_Model):
    """The service is running. If `outdated`, the predictor and index on disk could not be loaded; see its log."""

    status: Literal["ok"] = "ok"
    outdated: bool = False
