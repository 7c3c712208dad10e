import json
import logging

import numpy as np
import pytest

from eno.data.labels.encoder import LabelEncoder
from eno.errors import LabelError
from eno.training.feedback import Correction, Feedback

LABELS = LabelEncoder(["dream pop", "pop", "rock"], ["calm"], implied={"dream pop": ["pop"]})


def said(track_id, tag, verdict, family="genre"):
    return Correction(time="2025-01-01T00:00:00+00:00", track_id=track_id, tag=tag, family=family, verdict=verdict)


def test_the_last_word_counts_and_is_there_again(tmp_path):
    feedback = Feedback(tmp_path / "new" / "feedback.jsonl")
    feedback.append([said("a", "rock", "reject"), said("b\\xff\n", "calm", "add", "descriptor")])
    feedback.append([said("a", "Rock", "accept"), said("a", "pop", "add"), said("a", "pop", "withdraw")])
    for read in (feedback, Feedback(feedback.path)):
        assert [(one.track_id, one.verdict) for one in read.latest()] == [("b\\xff\n", "add"), ("a", "accept")]
        assert [one.tag for one in read.of_track("a")] == ["Rock"]
    assert len(feedback.path.read_bytes().splitlines()) == 5  # nothing is ever lost


def test_a_line_that_was_cut_off_harms_no_other(tmp_path, caplog):
    path = tmp_path / "feedback.jsonl"
    Feedback(path).append([said("a", "rock", "reject"), said("b", "rock", "reject")])
    path.write_bytes(path.read_bytes()[:-20])
    with caplog.at_level(logging.WARNING):
        feedback = Feedback(path)
    assert "line 2: is no correction" in caplog.text
    feedback.append([said("c", "rock", "accept")])
    assert [one.track_id for one in Feedback(path).latest()] == ["a", "c"]
    assert json.loads(path.read_bytes().splitlines()[-1])["track_id"] == "c"


@pytest.mark.parametrize(
    "line", ["[]", "7", '{"track_id": "a"}', json.dumps(vars(said("a", "x", "add")) | {"verdict": "?"})]
)
def test_what_is_no_correction_is_passed_over(line, tmp_path):
    path = tmp_path / "feedback.jsonl"
    path.write_text(line + "\n")
    assert Feedback(path).latest() == []


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(LabelError, match="cannot be read"):
        Feedback(tmp_path)


def test_labels_are_set_right(tmp_path):
    feedback = Feedback(tmp_path / "feedback.jsonl")
    feedback.append(
        [
            said("a", "Dream  Pop", "add"),  # with pop, which it implies
            said("b", "rock", "reject"),
            said("c", "dream pop", "accept"),
            said("c", "pop", "reject"),
            said("c", "polka", "add"),  # is no label
            said("unknown", "rock", "accept"),
        ]
    )
    truth = np.array([[0, 0, 1, 0], [0, 0, 0.5, 1], [0, 0, 0, 0]], np.float32)
    counts = feedback.apply(["a", "b", "c"], LABELS, truth)
    assert truth.tolist() == [[1, 1, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0]]
    assert counts.tolist() == [1, 1, 2]
