"""From what was found to what is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from eno.data.names import label_key
from eno.errors import EnoError
from eno.inference.predictor import EnoPredictor, TagProbability
from eno.serving import schemas
from eno.serving.batching import EncodedFile
from eno.serving.errors import of_error
from eno.serving.snapshot import Snapshot
from eno.serving.uploads import Upload
from eno.similarity.search_result import SearchResult
from eno.training.feedback import Correction


def tags(found: Sequence[TagProbability], *, top: int | None = None) -> list[schemas.Tag]:
    """Tags as they are sent: those that are named, and besides so many of the likeliest of each family."""
    sent, of_family = [], {"genre": 0, "descriptor": 0}
    for one in found:
        named = one.probability > one.threshold
        of_family[one.family] += 1
        if named or top is None or of_family[one.family] <= top:
            sent.append(schemas.Tag(**asdict(one) | {"probability": round(one.probability, 4)}, named=named))
    return sent


def tagged(
    upload: Upload, predictor: EnoPredictor | None, heard: EncodedFile | EnoError, *, top: int
) -> schemas.TaggedFile:
    """The tags of a file, or why there are none."""
    if isinstance(heard, EnoError):
        return schemas.TaggedFile(name=upload.name, problem=schemas.Problem(**of_error(heard).to_dict()))
    if predictor is None or heard.probabilities is None:
        return schemas.TaggedFile(name=upload.name, duration_s=heard.duration_s)
    named = predictor.labels.decode(heard.probabilities, predictor.thresholds)
    return schemas.TaggedFile(
        name=upload.name,
        duration_s=heard.duration_s,
        genres=named["genres"],
        descriptors=named["descriptors"],
        tags=tags(predictor.name_tags(heard.probabilities), top=top),
    )


def neighbours(found: SearchResult) -> schemas.Neighbours:
    """What was found, as it is sent."""
    listed = [
        schemas.Neighbour(
            id=one.track_id,
            title=one.title,
            artist=one.artist,
            album=one.album,
            year=one.year,
            duration_s=one.duration_s,
            score=round(one.score, 4),
            shared=list(one.shared),
        )
        for one in found
    ]
    return schemas.Neighbours(query=found.query, neighbours=listed, notes=list(found.notes))


def corrections(said: Sequence[Correction]) -> list[schemas.CorrectionOut]:
    """Corrections as they are sent."""
    return [schemas.CorrectionOut.model_validate(asdict(one)) for one in said]


def known_tags(snapshot: Snapshot) -> list[schemas.TagInfo]:
    """The tags there are: the predictor's, or else those of the catalogue."""
    if snapshot.predictor is not None:
        counts = snapshot.catalogue.counts if snapshot.catalogue is not None else {}
        labels = snapshot.predictor.labels
        families = ["genre"] * labels.num_genres + ["descriptor"] * labels.num_descriptors
        return [
            schemas.TagInfo(tag=tag, family=family, tracks=counts.get(tag, 0))  # type: ignore[arg-type]
            for tag, family in zip(labels.all_labels, families, strict=True)
        ]
    found = {} if snapshot.catalogue is None else snapshot.catalogue.known_tags
    return [
        schemas.TagInfo(tag=tag, family=family, tracks=count)  # type: ignore[arg-type]
        for (family, tag), count in sorted(found.items())
    ]


def spelled(snapshot: Snapshot, tag: str, family: str | None) -> tuple[str, str] | None:
    """How a tag is written, and its family; None for a word of no known family."""
    for one in known_tags(snapshot):
        if label_key(one.tag) == label_key(tag) and family in (None, one.family):
            return one.tag, one.family
    return None if family is None else (" ".join(tag.split()), family)
