"""Tags of the tracks of a store, in batches."""

from types import SimpleNamespace

import numpy as np
import pytest

from eno.cli.tags.tagged_items import Selection, from_store
from eno.data.labels.encoder import LabelEncoder
from eno.inference.predictions import TagPredictor

LABELS = LabelEncoder(["a", "b", "c", "d"], ["x", "y", "z"])
IDS = [f"{folder}{number}.flac" for folder in ("one/", "one/cd 1/", "two/", "") for number in range(3)]


class Predictor(TagPredictor):
    """Predicts fixed probabilities, in batches of some order as windows of a store come."""

    labels, calibration, album_calibration, album, taught = LABELS, True, None, "mean", None
    thresholds = album_thresholds = np.linspace(0.2, 0.8, 7)

    def __init__(self, ids, order, batch):
        rng = np.random.default_rng(0)
        self.values = np.round(rng.random((len(ids), 7)), 1).astype(np.float32)  # with ties
        self.order, self.batch, self.ids = order(len(ids)), batch, ids

    def vector_batches(self, store, ids):
        at = [self.ids.index(name) for name in ids]
        for first in range(0, len(ids), self.batch):
            rows = np.sort(self.order[first : first + self.batch])
            yield rows, np.array([at[row] for row in rows])

    def predict_vectors(self, X):
        return self.values[X]

    def familiarity_of(self, X):
        return [float(row) / 100 for row in X]


@pytest.mark.parametrize("order", [np.arange, np.random.default_rng(1).permutation])
@pytest.mark.parametrize("selection", [Selection(), Selection(top=2), Selection(threshold=0.4), None])
@pytest.mark.parametrize("album", [False, True])
def test_batches_give_the_tags_of_all_at_once(order, selection, album):
    predictor = Predictor(IDS, order, 5)
    found = {one.name: one for one in from_store(predictor, SimpleNamespace(track_ids=lambda: IDS), album, selection)}
    folders = [name.rpartition("/")[0] or "." for name in IDS]
    names, values = predictor.combine_tracks(predictor.values, folders) if album else (IDS, predictor.values)
    assert set(found) == set(names)
    shown = selection or Selection(threshold=-1)
    for name, row in zip(names, values, strict=True):
        expected = predictor.name_tags(row, album=album)
        for family in ("genre", "descriptor"):
            assert shown.of_family(found[name].found, family) == shown.of_family(expected, family)
        if selection is None:
            assert found[name].found == expected
    if album:
        assert found["one"].members == tuple(IDS[:3])
        assert found["one"].familiarity == pytest.approx(0.01)
