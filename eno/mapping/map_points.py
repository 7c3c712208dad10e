"""The points of a map and their colours, without names: what a page needs that asks for the rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eno.files import printable
from eno.mapping.map_content import FORMAT, pack, quantised
from eno.mapping.projection import Projection

COLOURED = 12
"""Values of a column that have a colour of their own in ``map.js``: six colours, as discs and as rings."""


def map_points(projection: Projection, columns: Mapping[str, pa.Array]) -> dict[str, Any]:
    """Collect the points of a map, ready for JSON; compressed, a point takes four to five bytes.

    Parameters
    ----------
    columns : mapping of str to pa.Array
        A string or null for each point, by which points can be coloured.

    Returns
    -------
    dict
        ``x`` and ``y`` are packed as by `eno.mapping.map_content.map_content`. ``columns`` have the most frequent
        names, the number of ``distinct`` ones, and one code per point: 0 for null and for all other names.
    """
    known = {name: values for name, values in columns.items() if values.null_count < len(values)}
    return {
        "format": FORMAT,
        "count": len(projection.coordinates),
        "method": projection.method,
        "explained": [round(share, 4) for share in projection.explained],
        **dict(zip("xy", map(pack, quantised(projection.coordinates).T), strict=True)),
        "columns": {name: _coded(values) for name, values in known.items()},
    }


def _coded(values: pa.Array) -> dict[str, Any]:
    encoded = values.dictionary_encode()
    names = encoded.dictionary.to_pylist()
    codes = pc.fill_null(encoded.indices, len(names)).to_numpy(zero_copy_only=False)
    counts = np.bincount(codes, minlength=len(names))[: len(names)]
    # Sorted like `map_content`'s: the most frequent first, and then by name.
    limit = np.sort(counts)[-min(COLOURED, len(counts))]
    likely = sorted(np.flatnonzero(counts >= limit).tolist(), key=lambda code: (-counts[code], names[code]))
    code_of = np.zeros(len(names) + 1, np.uint8)
    code_of[likely[:COLOURED]] = np.arange(1, len(likely[:COLOURED]) + 1)
    return {
        "names": [printable(names[code]) for code in likely[:COLOURED]],
        "distinct": len(names),
        "codes": pack(code_of[codes]),
    }
