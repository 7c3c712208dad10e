"""Only the most frequent names of a column have a code of their own."""

import numpy as np
import pyarrow as pa

from eno.mapping.map_points import COLOURED, map_points
from eno.mapping.projection import Projection
from tests.mapping.test_map import unpack


def test_points_and_columns():
    rng = np.random.default_rng(0)
    coordinates = rng.normal(size=(500, 2)).astype(np.float32)
    names = [None if code > 30 else f"name {code:02d}" for code in rng.integers(0, 35, 500).tolist()]
    columns = {"many": pa.array(names), "few": pa.array(["b", "a"] * 250), "none": pa.nulls(500, pa.string())}
    content = map_points(Projection(coordinates, "umap"), columns)
    assert set(content["columns"]) == {"many", "few"}
    many = content["columns"]["many"]
    order = sorted({*names} - {None}, key=lambda name: (-names.count(name), name))
    assert (many["names"], many["distinct"]) == (order[:COLOURED], 31)
    codes = [order.index(name) + 1 if name in order[:COLOURED] else 0 for name in names]
    assert unpack(many["codes"]).tolist() == codes
    assert unpack(content["columns"]["few"]["codes"]).tolist() == [2, 1] * 250
    places = np.stack([unpack(content[axis]) for axis in "xy"], axis=1) / 65535
    moved = places * np.ptp(coordinates, axis=0).max() - coordinates
    np.testing.assert_allclose(moved - moved.mean(axis=0), 0, atol=1e-3)
