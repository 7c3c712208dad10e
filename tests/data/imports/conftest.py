import pyarrow as pa
import pytest

from eno.data.catalogue import choose_labels, split_tracks
from eno.data.imports import read_track_labels
from eno.data.layout import DataRoot
from eno.data.library.scanning import TRACK_SCHEMA, read_tracks
from eno.data.lute.albums import read_albums
from eno.data.matching import match
from eno.data.splits import SPLITS, read_split
from eno.data.tables import write_table


def track(track_id, artist=None, album=None, **tags):
    return {"track_id": track_id, "size": 1, "mtime_ns": 1, "artist": artist, "album": album, "title": None} | tags


class Collection:
    """A collection whose tables the tests fill, and the steps from labels to splits on it."""

    def __init__(self, folder):
        self.data = DataRoot(folder)

    def scanned(self, rows):
        write_table(self.data.tracks, pa.Table.from_pylist(rows, schema=TRACK_SCHEMA))
        return read_tracks(self.data.tracks)

    def match(self):
        own = read_track_labels(self.data.track_labels)
        imported = dict(zip(own["track_id"].to_pylist(), own["file_name"].to_pylist(), strict=True))
        return match(
            read_tracks(self.data.tracks), read_albums(self.data.albums), self.data.matches, self.data.match_review,
            imported=imported,
        )  # fmt: skip

    def labels(self, **options):
        return choose_labels(self.data, **{"min_albums": 1, "min_artists": 1} | options)

    def split(self, **options):
        split_tracks(self.data, **{"val": 0.25, "test": 0.25, "seed": 0} | options)
        return {name: read_split(self.data.splits, name).to_pylist() for name in SPLITS}


@pytest.fixture
def collection(tmp_path):
    return Collection(tmp_path / "data")
