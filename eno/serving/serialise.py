"""Turn results into the bodies of responses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from eno.data.names import clean_label, label_key
from eno.errors import EnoError
from eno.inference.predictor import EnoPredictor, TagProbability
from eno.models.familiarity import is_unfamiliar
from eno.serving import schemas
from eno.serving.batching import EncodedFile
from eno.serving.errors import of_error
from eno.serving.snapshot import Snapshot
from eno.serving.uploads import Upload
from eno.similarity.search_result import SearchResult
from eno.training.feedback import Correction

_TRACK_FIELDS = ("track_id", "title", "artist", "album", "year", "duration_s")


def tags(found: Sequence[TagProbability], *, top: int) -> list[schemas.Tag]:
    """Return the tags above their thresholds, and the `top` most probable tags of each family."""
    sent, ranks = [], Counter[str]()
    for one in found:
        named = one.probability > one.threshold
        ranks[one.family] += 1
        if named or ranks[one.family] <= top:
            sent.append(schemas.Tag(**asdict(one) | {"probability": round(one.probability, 4)}, named=named))
    return sent


def familiarity(value: float | None) -> dict[str, Any]:
    """Return the fields that say how familiar a track or file is."""
    return {"familiarity": None if value is None else round(value, 4), "unfamiliar": is_unfamiliar(value)}


def tagged(
    upload: Upload, predictor: EnoPredictor | None, encoded: EncodedFile | EnoError, *, top: int
) -> schemas.TaggedFile:
    """Return the tags of a file, or the problem with it."""
    if isinstance(encoded, EnoError):
        return schemas.TaggedFile(name=upload.name, problem=schemas.Problem(**of_error(encoded).to_dict()))
    if predictor is None or encoded.probabilities is None:
        return schemas.TaggedFile(name=upload.name, duration_s=encoded.duration_s)
    named = predictor.labels.decode(encoded.probabilities, predictor.thresholds)
    return schemas.TaggedFile(
        name=upload.name,
        duration_s=encoded.duration_s,
        genres=named["genres"],
        descriptors=named["descriptors"],
        others={family: named[family] for family in predictor.labels.others},
        tags=tags(predictor.name_tags(encoded.probabilities), top=top),
        **familiarity(encoded.familiarity),
    )


def neighbours(found: SearchResult) -> schemas.Neighbours:
    """Return the tracks that a search found."""
    listed = [
        schemas.Neighbour(
            **{name: getattr(one, name) for name in _TRACK_FIELDS}, score=round(one.score, 4), shared=list(one.shared)
        )
        for one in found
    ]
    return schemas.Neighbours(query=found.query, neighbours=listed, notes=list(found.notes))


def corrections(found: Sequence[Correction]) -> list[schemas.CorrectionOut]:
    """Return corrections."""
    return [schemas.CorrectionOut.model_validate(asdict(one)) for one in found]


def known_tags(snapshot: Snapshot) -> list[schemas.TagInfo]:
    """Return the predictor's vocabulary, or without a predictor the tags of the catalogue."""
    if snapshot.predictor is not None:
        counts = snapshot.catalogue.counts if snapshot.catalogue is not None else {}
        labels = snapshot.predictor.labels
        return [
            schemas.TagInfo(tag=tag, family=family, tracks=counts.get(tag, 0))
            for tag, family in zip(labels.all_labels, labels.families, strict=True)
        ]
    found = {} if snapshot.catalogue is None else snapshot.catalogue.known_tags
    return [schemas.TagInfo(tag=tag, family=family, tracks=count) for (family, tag), count in sorted(found.items())]


def spelling(snapshot: Snapshot, tag: str, family: str | None) -> tuple[str, str] | None:
    """Return a tag as the vocabulary spells it, and its family; None if it is unknown and `family` is None."""
    for one in known_tags(snapshot):
        if label_key(one.tag) == label_key(tag) and family in (None, one.family):
            return one.tag, one.family
    return None if family is None else (clean_label(tag), family)
