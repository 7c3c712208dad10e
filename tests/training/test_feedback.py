import json
import logging

import numpy as np
import pytest

from eno.data.labels.encoder import LabelEncoder
from eno.errors import LabelError
from eno.training.feedback import Correction, Feedback

LABELS = LabelEncoder(["dream pop", "pop", "rock"], ["calm"], implied={"dream pop": ["pop"]})


def correction(track_id, tag, verdict, family="genre"):
    return Correction(time="2025-01-01T00:00:00+00:00", track_id=track_id, tag=tag, family=family, verdict=verdict)


def test_the_last_correction_counts_even_after_reloading(tmp_path):
    feedback = Feedback(tmp_path / "new" / "feedback.jsonl")
    feedback.append([correction("a", "rock", "reject"), correction("b\\xff\n", "calm", "add", "descriptor")])
    feedback.append(
        [correction("a", "Rock", "accept"), correction("a", "pop", "add"), correction("a", "pop", "withdraw")]
    )
    for read in (feedback, Feedback(feedback.path)):
        assert [(one.track_id, one.verdict) for one in read.latest()] == [("b\\xff\n", "add"), ("a", "accept")]
        assert [one.tag for one in read.of_track("a")] == ["Rock"]
    assert len(feedback.path.read_bytes().splitlines()) == 5  # lines are only appended


def test_corrections_follow_renamed_files_once(tmp_path):
    feedback = Feedback(tmp_path / "feedback.jsonl")
    feedback.append([correction("a", "rock", "reject"), correction("b", "pop", "add"), correction("y", "pop", "add")])
    feedback.follow({"x": "a", "y": "b"})
    feedback.follow({"x": "a"})
    assert [(one.track_id, one.tag) for one in Feedback(feedback.path).latest()] == [
        ("a", "rock"), ("b", "pop"), ("y", "pop"), ("x", "rock"),
    ]  # fmt: skip
    assert len(feedback.path.read_bytes().splitlines()) == 4


def test_a_truncated_line_does_not_affect_others(tmp_path, caplog):
    path = tmp_path / "feedback.jsonl"
    Feedback(path).append([correction("a", "rock", "reject"), correction("b", "rock", "reject")])
    path.write_bytes(path.read_bytes()[:-20])
    with caplog.at_level(logging.WARNING):
        feedback = Feedback(path)
    assert "line 2: not a correction" in caplog.text
    feedback.append([correction("c", "rock", "accept")])
    assert [one.track_id for one in Feedback(path).latest()] == ["a", "c"]
    assert json.loads(path.read_bytes().splitlines()[-1])["track_id"] == "c"


@pytest.mark.parametrize(
    "line", ["[]", "7", '{"track_id": "a"}', json.dumps(vars(correction("a", "x", "add")) | {"verdict": "?"})]
)
def test_malformed_lines_are_skipped(line, tmp_path):
    path = tmp_path / "feedback.jsonl"
    path.write_text(line + "\n")
    assert Feedback(path).latest() == []


def test_a_folder_cannot_be_read(tmp_path):
    with pytest.raises(LabelError, match="cannot be read"):
        Feedback(tmp_path)


def test_labels_of_any_family_are_corrected(tmp_path):
    labels = LabelEncoder(["rock"], ["organ"], others={"instruments": ["organ"]})
    feedback = Feedback(tmp_path / "feedback.jsonl")
    feedback.append([correction("a", "Organ", "add", "instruments"), correction("a", "organ", "add", "unheard of")])
    truth = np.zeros((1, 3), np.float32)
    counts, corrected = Feedback(feedback.path).apply(["a"], labels, truth)
    assert (truth.tolist(), counts.tolist(), corrected.tolist()) == ([[0, 0, 1]], [1], [[False, False, True]])


def test_labels_are_corrected(tmp_path):
    feedback = Feedback(tmp_path / "feedback.jsonl")
    feedback.append(
        [
            correction("a", "Dream  Pop", "add"),  # implies pop
            correction("b", "rock", "reject"),
            correction("c", "dream pop", "accept"),
            correction("c", "pop", "reject"),
            correction("c", "polka", "add"),  # not in the vocabulary
            correction("unknown", "rock", "accept"),
        ]
    )
    truth = np.array([[0, 0, 1, 0], [0, 0, 0.5, 1], [0, 0, 0, 0]], np.float32)
    counts, corrected = feedback.apply(["a", "b", "c"], LABELS, truth)
    assert truth.tolist() == [[1, 1, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0]]
    assert counts.tolist() == [1, 1, 2]
    assert corrected.tolist() == [[True, True, False, False], [False, False, True, False], [True, True, False, False]]
