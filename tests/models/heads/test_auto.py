"""The default head: a time budget for a blend."""

import numpy as np
import pytest

from eno.models import load_head
from eno.models.heads import auto
from eno.models.heads.auto import AutoHead
from eno.models.heads.blend import BlendHead
from eno.testing.heads import half_spaces

HEADS = ("linear", "forest", "knn")


class Clock:
    """Every look at the clock takes a second."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        self.now += 1
        return self.now


def test_equals_a_blend_if_there_is_time_enough():
    X, Y = half_spaces(n=200)
    options = {"forest": {"trees": 20}}
    one = AutoHead(heads=HEADS, options=options, device="cpu").fit(X, Y)
    other = BlendHead(heads=HEADS, options=options, device="cpu").fit(X, Y)
    np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(X))
    assert one.given_up == {}
    assert list(one.scores.values()) == list(other.scores.values())
    assert list(one.scores) == [*HEADS, "auto"]


@pytest.mark.parametrize("validated", [False, True])
def test_heads_that_would_exceed_the_budget_are_given_up(monkeypatch, tmp_path, validated):
    X, Y = half_spaces(n=200)
    monkeypatch.setattr(auto, "time", Clock())
    head = AutoHead(heads=("linear", "mlp"), options={"mlp": {"max_epochs": 5}}, budget=1.5, device="cpu")
    seen = []
    head.on_progress = lambda done, total: seen.append(done / total)
    head.fit(X, Y, *half_spaces(1, n=100)) if validated else head.fit(X, Y)
    assert [one.name for one in head.members] == ["linear"]  # the first is always fitted
    assert set(head.given_up) == {"mlp"}
    assert set(head.scores) & set(head.given_up) == set()
    assert seen == sorted(seen)
    head.save(tmp_path)
    loaded = load_head(tmp_path)
    assert loaded.given_up == head.given_up
    np.testing.assert_array_equal(loaded.predict_proba(X), head.predict_proba(X))


def test_no_head_is_started_after_the_budget(monkeypatch):
    X, Y = half_spaces(n=200)
    monkeypatch.setattr(auto, "time", Clock())
    head = AutoHead(heads=("linear", "forest", "knn"), budget=1e-9, device="cpu").fit(X, Y)
    assert head.given_up == {"forest": None, "knn": None}
    assert [one.name for one in head.members] == ["linear"]


def test_a_head_is_given_up_as_soon_as_its_progress_shows_that_it_takes_too_long():
    seen = []
    timer = auto._Timer(deadline=auto.time.monotonic() + 100, report=lambda *step: seen.append(step))
    timer._began -= 30
    timer.check(4, 10)  # 75 seconds in all, 45 of which remain
    with pytest.raises(auto._TooLongError) as found:
        timer.check(2, 10)  # 150 seconds in all, 120 of which remain
    assert found.value.seconds == pytest.approx(150, rel=0.01)
    assert seen == [(4, 10)]
