"""Reading rows of vectors that lie in mapped files."""

import numpy as np
import pytest

from eno.models.training_data import take
from eno.views import JoinedView, RowView

ROWS = 5_000


class Watched:
    """A source that keeps how many rows were read together."""

    def __init__(self, values):
        self.values, self.shape, self.read = values, values.shape, []

    def __len__(self):
        return len(self.values)

    def __getitem__(self, rows):
        found = self.values[rows]
        self.read.append(len(found))
        return found


@pytest.fixture
def source():
    return Watched(np.random.default_rng(0).standard_normal((ROWS, 3)).astype(np.float16))


CHOSEN = [slice(None), slice(10, 4_000), slice(7, 7), np.arange(ROWS)[::-3], np.arange(ROWS) % 3 == 0, [3, 1], []]


@pytest.mark.parametrize("rows", CHOSEN)
@pytest.mark.parametrize("view", ["rows", "joined"])
def test_views_are_read_a_few_rows_at_a_time(source, view, rows):
    order = np.random.default_rng(1).permutation(ROWS)
    if view == "rows":
        taken, expected = take(RowView(source, order), rows), source.values[order]
    else:
        taken, expected = take(JoinedView([source, source]), rows), np.hstack([source.values] * 2)
    assert taken.dtype == np.float32
    assert np.array_equal(taken, expected[rows])
    assert max(source.read) <= 1_024
