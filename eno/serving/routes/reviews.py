"""The routes of ``/v1/review``: questions of ``eno match`` about the albums of files, and the user's answers."""

from __future__ import annotations

from fastapi import APIRouter, Depends

from eno.serving import schemas
from eno.serving.errors import Problem, problem_responses
from eno.serving.routes.tracks import Limit, Offset, TheService, only_json

router = APIRouter(prefix="/v1", responses=problem_responses(400, 401, 403, 421, 422, 500))


@router.get("/review")
def questions(service: TheService, offset: Offset = 0, limit: Limit = 50) -> schemas.Questions:
    """List the open questions about the albums of files, those about most tracks first."""
    found = service.review.questions() if service.review else []
    page = [
        schemas.Question(
            folder=rows[0]["folder"],
            album=rows[0]["album"],
            artist=rows[0]["artist"],
            year=rows[0]["year"],
            tracks=rows[0]["tracks"],
            candidates=[
                schemas.AlbumCandidate(
                    file_name=row["candidate"],
                    artists=row["candidate_artists"],
                    name=row["candidate_name"],
                    date=row["candidate_date"],
                    score=row["score"],
                    reason=row["reason"],
                )
                for row in rows
            ],
        )
        for rows in found[offset : offset + limit]
    ]
    return schemas.Questions(total=len(found), offset=offset, questions=page)


@router.post(
    "/review", status_code=204, dependencies=[Depends(only_json)], responses=problem_responses(404, 408, 413, 415)
)
def answer(body: schemas.Answer, service: TheService) -> None:
    """Accept one of the candidates, or reject all of them, for the next 'eno match'."""
    if service.review is None or not service.review.answer(body.folder, body.album, body.accepted):
        raise Problem(404, f"There is no such question about the album {body.album!r} in the folder {body.folder!r}.")
