"""Small collections whose features are made up: what a track is like can be seen in them at once."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa

from eno.cnn.features import AudioFeatureExtractor
from eno.data.labels.encoder import LabelEncoder
from eno.data.layout import DataRoot
from eno.data.splits.artist_split import SPLIT_SCHEMA, write_splits

LABELS = LabelEncoder(["high", "low"], ["loud"], secondary_weight=0.5)


def save_collection(folder: Path, tracks: dict[str, int], *, n_mels: int = 16, frames: tuple[int, int] = (40, 80)):
    """Write splits and features of so many tracks a part; lengths are drawn from `frames`.

    A track is ``low`` or ``high`` by the half of the bands in which it has energy, and ``loud`` by how much of it.
    Every third has its genre as a secondary one.
    """
    root, rng = DataRoot(folder), np.random.default_rng(0)
    root.features.mkdir(parents=True)
    (root.features / "features.json").write_text(json.dumps(AudioFeatureExtractor(n_mels=n_mels).settings))
    rows, parts = [], []
    for part, count in tracks.items():
        for number in range(count):
            track_id = f"{part}/{number:02d}.ogg"
            high, loud = number % 2 == 0, number % 4 < 2
            length = int(rng.integers(frames[0], frames[1] + 1))
            features = rng.normal(-8, 1, (1, n_mels, length)).astype(np.float32)
            features[:, n_mels // 2 * high : n_mels // 2 * (1 + high)] += 4 + 6 * loud
            path = root.features / f"{track_id}.npy"
            path.parent.mkdir(exist_ok=True)
            np.save(path, features)
            genre = ["high" if high else "low"]
            primary, secondary = (genre, []) if number % 3 else ([], genre)
            rows.append({"track_id": track_id, "file_name": part, "primary_genres": primary,
                         "secondary_genres": secondary, "descriptors": ["loud"] if loud else None})  # fmt: skip
            parts.append(part)
    write_splits(root.splits, pa.Table.from_pylist(rows, schema=SPLIT_SCHEMA), np.array(parts))
    LABELS.save(root.label_encoder)
    return root
