"""Questions of ``eno match``, answered over HTTP and on the web page."""

import csv

import httpx
import pytest

from eno.data.layout import DataRoot
from eno.data.matching.review import COLUMNS
from tests.browser import launched, needs_browser, wait
from tests.serving.conftest import make_service, running

ROW = dict.fromkeys(COLUMNS, "") | {"artist": "Weezer", "year": "1994", "tracks": "10", "score": "0.480"}
WEEZER = {"folder": "w", "album": "Weezer", "candidate_name": "Weezer", "candidate_artists": "Weezer"}
QUESTIONS = [
    ROW | WEEZER | {"candidate": "release/album/weezer/weezer-f1", "candidate_date": "1994-05-10"},
    ROW | WEEZER | {"candidate": "release/album/weezer/weezer-f2", "candidate_date": "2001-05-10"},
    ROW | {"folder": "=x", "album": "<b>Low", "candidate": "release/album/low/low", "candidate_name": "Low"},
]


@pytest.fixture
def served(collection, tmp_path):
    path = DataRoot(collection[0].root).match_review
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(row | {"folder": "'=x" if row["folder"] == "=x" else row["folder"]} for row in QUESTIONS)
    with running(make_service(collection, tmp_path)) as address:
        yield path, address
    path.unlink()


def decisions(path):
    with path.open(encoding="utf-8-sig", newline="") as file:
        return {row["candidate"]: row["decision"] for row in csv.DictReader(file)}


def test_questions_are_listed_and_answers_are_in_the_file(served):
    path, address = served
    found = httpx.get(f"{address}/v1/review").json()
    assert (found["total"], [one["folder"] for one in found["questions"]]) == (2, ["w", "=x"])
    assert [one["date"] for one in found["questions"][0]["candidates"]] == ["1994-05-10", "2001-05-10"]
    second = {"folder": "w", "album": "Weezer", "accepted": "release/album/weezer/weezer-f2"}
    assert httpx.post(f"{address}/v1/review", json=second).status_code == 204
    assert httpx.post(f"{address}/v1/review", json={"folder": "=x", "album": "<b>Low"}).status_code == 204
    assert decisions(path) == {
        "release/album/weezer/weezer-f1": "",
        "release/album/weezer/weezer-f2": "yes",
        "release/album/low/low": "no",
    }
    assert httpx.get(f"{address}/v1/review").json()["total"] == 0


@pytest.mark.parametrize("change", [{"folder": "other"}, {"accepted": "release/album/low/low"}])
def test_answers_to_questions_that_were_not_asked(served, change):
    path, address = served
    before = path.read_bytes()
    answer = httpx.post(f"{address}/v1/review", json={"folder": "w", "album": "Weezer", "accepted": None} | change)
    assert answer.status_code == 404
    assert "no such question about the album 'Weezer'" in answer.json()["detail"]
    assert path.read_bytes() == before


@needs_browser
def test_the_page_asks_and_sends_the_answers(served):
    path, address = served
    with launched() as browser, browser.new_context() as context:
        page = context.new_page()
        page.goto(address)
        wait(page, "document.querySelector('#review-link').textContent === '2 questions'")
        page.click("#review-link")
        wait(page, "document.querySelectorAll('#questions > li').length === 2")
        assert "<b>Low" in page.inner_text("#questions")
        page.click("#questions > li:first-child li:nth-child(2) button")
        wait(page, "document.querySelector('#review-link').textContent === '1 question'")
        page.click("text=None of these")
        wait(page, "document.querySelector('#review-link').hidden")
    assert decisions(path)["release/album/weezer/weezer-f2"] == "yes"
    assert decisions(path)["release/album/low/low"] == "no"
