"""A collection of 24 short tracks by four artists, some of which are in the catalogue."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import soundfile

from eno.audio.reading import read_windows
from eno.audio.windows import WindowPolicy
from eno.data.layout import DataRoot
from eno.data.library.scanning import TRACK_SCHEMA
from eno.data.lute.albums import ALBUM_SCHEMA
from eno.data.matching.matcher import MATCH_SCHEMA
from eno.data.tables import write_table
from eno.embeddings.store.embedding_store import EmbeddingStore
from tests.fakes import ProjectionEncoder

RATE = 8000
POLICY = WindowPolicy(count=4)

# Album folder → number of tracks, tags of its files, and catalogue entry.
ALBUMS = {
    "Low/2001 - Things We Lost": (8, {}, ("Low", "Things We Lost", 2001, ["Slowcore"], ["Dream Pop"], ["melancholic"])),
    "Low/2018 - Double": (6, {"album": "Double"}, ("Low", "Double", 2018, ["Slowcore", "Noise"], [], ["cold"])),
    "Grouper/Ruins": (3, {"artist": "Liz"}, ("Grouper", "Ruins", 2014, ["Ambient"], [], ["melancholic", "rain"])),
    "SR/Takk": (3, {"artist": "Sigur Rós feat. Amiina", "album": "Takk…", "year": 2005, "genres": ["Post-Rock"]}, None),
    "V/Slow Songs": (
        2, {"artist": "Low"}, ("Various Artists", "Slow Songs", 2010, ["Slowcore"], [], ["melancholic"]),
    ),
    "heap": (2, {}, None),
}  # fmt: skip


class OwnEncoder(ProjectionEncoder):
    """A user's own encoder, which commands load by this module's name. A text is encoded by its length."""

    logit_scale = 1.0

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed=seed)
        self.spec = replace(self.spec, name=f"{__name__}:OwnEncoder")

    def encode_text(self, texts):
        return np.stack([self.projection[len(text)] for text in texts])


def build(root: Path, encoder) -> tuple[DataRoot, EmbeddingStore]:
    """Write audio, tables and a store."""
    data, spec = DataRoot(root), encoder.spec
    store = EmbeddingStore.create(root / "store", spec, policy=POLICY, dtype="float32")
    tracks, matches, albums = [], [], []
    rng = np.random.default_rng(0)
    for folder, (count, tags, known) in ALBUMS.items():
        timbre = rng.standard_normal(RATE // 2)  # shared by all tracks of an album, so that they are similar
        (data.audio / folder).mkdir(parents=True)
        file_name = None
        if known is not None:
            artist, title, year, primary, secondary, descriptors = known
            file_name = f"release/album/{title.lower().replace(' ', '-')}"
            albums.append(
                {"file_name": file_name, "name": title, "artists": [{"name": artist, "file_name": None}]}
                | {"primary_genres": primary, "secondary_genres": secondary, "descriptors": descriptors}
                | {"release_date": f"{year}-01-01", "rating": year / 1000}
            )
        for number in range(1, count + 1):
            name = f"{folder}/{number:02d}.wav"
            samples = np.tile(timbre, 8)[: RATE * 3 + 100 * len(tracks)]
            samples = samples + rng.standard_normal(len(samples))
            soundfile.write(data.audio / name, 0.1 * samples, RATE, subtype="FLOAT")
            windows = read_windows(
                data.audio / name, sample_rate=spec.sample_rate, window_samples=spec.window_samples, policy=POLICY
            )
            store.append([name] * len(windows.samples), windows.starts_s, encoder.encode(windows.samples))
            row = {"track_id": name, "duration_s": len(samples) / RATE, "codec": "FLOAT"}
            tracks.append(dict.fromkeys(TRACK_SCHEMA.names) | row | {"size": 1, "mtime_ns": 1, "genres": []} | tags)
            matches.append({"track_id": name, "file_name": file_name, "decision": "matched" if known else "unmatched"})
    write_table(data.tracks, pa.Table.from_pylist(tracks, schema=TRACK_SCHEMA))
    write_table(data.matches, pa.Table.from_pylist(matches, schema=MATCH_SCHEMA))
    schema = pa.schema([*ALBUM_SCHEMA, ("shelf", pa.string())])
    write_table(data.albums, pa.Table.from_pylist([album | {"shelf": "blue"} for album in albums], schema=schema))
    return data, store
