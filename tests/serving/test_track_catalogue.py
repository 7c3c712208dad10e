"""Searches by name find what reading the names of every track finds."""

import unicodedata

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from eno.serving.track_catalogue import TrackCatalogue
from eno.similarity.index.build import build_index
from eno.similarity.indexed import IndexedTracks
from eno.similarity.metadata import TrackMetadata
from tests.similarity.small_collection import OwnEncoder, build

NAMES = [
    "Sigur Rós",
    "Ágætis  byrjun",
    "İstanbul",
    "Straße",
    "Motörhead",
    "日本の音楽",
    "a\nb",
    "ﬁne",
    "½ — …",
    "\u2028",
    "e\u0301",
    None,
]


def plain(text):
    letters = unicodedata.normalize("NFKD", text or "")
    return "".join(letter for letter in letters if not unicodedata.category(letter).startswith("M")).lower()


def test_any_words(tmp_path):
    _, store = build(tmp_path, OwnEncoder())
    index = build_index(store)
    ids = index.track_ids()
    known = {"track_id": ids, "year": [None] * len(ids), "duration_s": [None] * len(ids)}
    for first, name in enumerate(("title", "artist", "album")):
        known[name] = [NAMES[(5 * first + i) % len(NAMES)] for i in range(len(ids))]
    metadata = TrackMetadata(pa.table(known | {"artists": [None] * len(ids), "album_id": [None] * len(ids)}))
    catalogue = TrackCatalogue(IndexedTracks(index, metadata), None, None)
    texts = [
        "\n".join(plain(known[name][i]) for name in ("title", "artist", "album", "track_id")) for i in range(len(ids))
    ]

    @settings(max_examples=300, deadline=None)
    @given(st.data())
    def check(data):
        source = data.draw(st.sampled_from([*filter(None, NAMES), *ids]))
        first, size = data.draw(st.integers(0, len(source))), data.draw(st.integers(0, 12))
        words = source[first : first + size] + data.draw(st.sampled_from(["", " low", " 0", " É"]))
        expected = [
            name for name, text in zip(ids, texts, strict=True) if all(word in text for word in plain(words).split())
        ]
        total, found = catalogue.find(words, offset=1, limit=5)
        assert (total, [one["track_id"] for one in found]) == (len(expected), expected[1:6])

    check()
