import base64
import json
import re
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pytest

from eno.data.labels.hierarchy import Hierarchy
from eno.errors import SimilarityError
from eno.mapping.map import write_map
from eno.mapping.map_content import TagStrengths, map_content
from eno.mapping.projection import project
from eno.similarity.index.neighbours import nearest_others

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!-- <script>",
    "quotes \" ' ` ${name} \\ \\n",
    "emoji 🎹 \u2028 \u202e \x00 \x7f",
    "&lt;b&gt; & ]]>",
]


def unpack(packed):
    kind = {"u8": "<u1", "u16": "<u2", "u32": "<u4"}[packed["type"]]
    return np.frombuffer(base64.b64decode(packed["data"]), kind)


class Page(HTMLParser):
    """The elements, scripts and styles of a page."""

    def __init__(self, path):
        super().__init__()
        self.elements, self.scripts, self.styles, self._inside = [], [], "", None
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._inside = None

    def handle_data(self, data):
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside == "style":
            self.styles += data

    @property
    def content(self):
        return json.loads(self.scripts[0])


def draw(path, ids, *, dim=8, **options):
    vectors = np.random.default_rng(0).normal(size=(len(ids), dim)).astype(np.float32)
    write_map(path, list(ids), vectors, method="pca", **options)
    return Page(path)


class TestContent:
    def content(self, ids, **options):
        vectors = np.random.default_rng(1).normal(size=(len(ids), 6)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        projection, neighbours = project(vectors, method="pca"), nearest_others(vectors, 3)[::-1]
        return map_content(ids, projection, neighbours, **options), projection, neighbours

    def test_coordinates_and_neighbours_survive_packing(self):
        content, projection, (rows, cosines) = self.content([f"{i}.flac" for i in range(300)])
        places = np.stack([unpack(content[axis]) for axis in "xy"], axis=1) / 65535
        extent = (projection.coordinates.max(axis=0) - projection.coordinates.min(axis=0)).max()
        moved = places * extent - projection.coordinates
        np.testing.assert_allclose(moved - moved.mean(axis=0), 0, atol=extent / 65535)
        assert places.min() >= 0
        np.testing.assert_array_equal(unpack(content["neighbours"]["rows"]).reshape(-1, 3), rows)
        percent = unpack(content["neighbours"]["percent"]).reshape(-1, 3)
        np.testing.assert_allclose(percent / 100, np.maximum(cosines, 0), atol=0.0051)

    def test_tracks_without_metadata_are_named_by_their_paths(self):
        content, *_ = self.content(["a/One/1.mp3", "a/One/2.mp3", "3.mp3"])
        assert content["files"] == ("1.mp3", "2.mp3", "3.mp3")
        assert content["columns"]["album"]["names"] == ["One"]
        assert unpack(content["columns"]["album"]["codes"]).tolist() == [1, 1, 0]
        assert content["tags"]["names"] == []

    def test_metadata_is_joined_by_track_id(self):
        metadata = pa.table({
            "track_id": ["c", "a", "other"],
            "artist": ["Zed", "Ann", "Nobody"],
            "genres": [["Shoegaze", "Noise"], ["Drone"], ["Polka"]],
            "descriptors": [None, ["calm"], []],
            "year": [1991, None, 2000],
        })  # fmt: skip
        hierarchy = Hierarchy([("Shoegaze", "Dream Pop"), ("Dream Pop", "Pop")])
        content, *_ = self.content(["a", "b", "c"], metadata=metadata, hierarchy=hierarchy)
        assert unpack(content["years"]).tolist() == [0, 0, 1991]
        artist = content["columns"]["artist"]
        assert [artist["names"][code - 1] if code else None for code in unpack(artist["codes"])] == ["Ann", None, "Zed"]
        assert content["columns"]["genre"]["names"] == ["Drone", "Pop"]
        tags = content["tags"]
        starts, codes = unpack(tags["starts"]), unpack(tags["codes"])
        own = [{tags["names"][code] for code in codes[starts[i] : starts[i + 1]]} for i in range(3)]
        assert own == [{"Drone", "calm"}, set(), {"Shoegaze", "Noise"}]
        assert dict(zip(tags["names"], tags["families"], strict=True))["calm"] == "descriptor"

    def test_rounding_keeps_predicted_tags_on_their_side_of_the_threshold(self):
        rng = np.random.default_rng(0)
        probabilities, thresholds = rng.random((40, 30)).astype(np.float32), rng.random(30)
        probabilities[:, 0] = thresholds[0] + 1e-4
        probabilities[:, 1] = thresholds[1] - 1e-4
        names = [f"tag {i}" for i in range(30)]
        strengths = TagStrengths(names, ["genre"] * 10 + ["descriptor"] * 20, probabilities, thresholds)
        tags = self.content([str(i) for i in range(40)], tags=strengths)[0]["tags"]
        starts, codes, kept = unpack(tags["starts"]), unpack(tags["codes"]), unpack(tags["strengths"])
        for i in range(40):
            own = slice(starts[i], starts[i + 1])
            assert (np.diff(kept[own].astype(int)) <= 0).all()
            named = {code for code, one in zip(codes[own], kept[own], strict=True) if one > tags["thresholds"][code]}
            assert named == set(np.flatnonzero(probabilities[i] > thresholds))
            np.testing.assert_allclose(kept[own] / 255, probabilities[i, codes[own]], atol=1.01 / 255)


class TestPage:
    def test_the_page_is_self_contained(self, tmp_path):
        page = draw(tmp_path / "new" / "map.html", [f"album/{i}.flac" for i in range(30)])
        addresses = [
            value
            for _, attributes in page.elements
            for name, value in attributes.items()
            if name in ("src", "href", "srcset", "action", "data", "poster")
        ]
        assert addresses == ["data:,"]
        assert not re.search(r"url\(|@import|https?:|//\w", page.styles)
        for script in page.scripts[1:]:
            assert not re.search(r"fetch\(|XMLHttpRequest|import\s*\(|https?:|WebSocket|sendBeacon", script)
        policy = next(attributes["content"] for _, attributes in page.elements if "http-equiv" in attributes)
        assert "default-src 'none'" in policy

    def test_the_same_input_yields_the_same_bytes(self, tmp_path):
        for name in "ab":
            draw(tmp_path / name, ["x/1.mp3", "x/2.mp3"])
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()

    def test_hostile_names_are_escaped(self, tmp_path):
        ids = [f"{name.replace('/', '∕')}/caf\\xe9 {i}.ogg" for i, name in enumerate(HOSTILE)]
        metadata = pa.table({
            "track_id": ids, "title": HOSTILE, "artist": HOSTILE, "descriptors": [[name] for name in HOSTILE],
        })  # fmt: skip
        page = draw(tmp_path / "map.html", ids, metadata=metadata, heading="<b>&$about</b>")
        assert sum(tag == "script" for tag, _ in page.elements) == 7
        assert not any(tag == "b" for tag, _ in page.elements)
        content = page.content
        assert content["titles"] == HOSTILE
        assert sorted(content["columns"]["artist"]["names"]) == sorted(HOSTILE)
        assert content["tags"]["names"] == HOSTILE
        folders = [content["folder"]["names"][code - 1] for code in unpack(content["folder"]["codes"])]
        assert [f"{folder}/{file}" for folder, file in zip(folders, content["files"], strict=True)] == ids

    def test_audio_links_are_relative_to_the_page(self, tmp_path):
        audio = tmp_path / "raw" / "my #audio"
        (audio / "x").mkdir(parents=True)
        odd = audio / "x" / b"caf\xe9.ogg".decode("utf-8", "surrogateescape")
        odd.touch()
        page = draw(tmp_path / "out" / "map.html", ["x/1.mp3", "x/caf\\xe9.ogg"], audio_roots=audio)
        assert page.content["audio"] == {
            "roots": ["../raw/my%20%23audio"],
            "root_of": None,
            "odd": {"1": "../raw/my%20%23audio/x/caf%E9.ogg"},
        }

    def test_each_track_is_linked_in_its_audio_folder(self, tmp_path):
        for folder, track in (("a", "1.mp3"), ("b", "2.mp3"), ("b", "caf\udce9.ogg")):
            (tmp_path / folder).mkdir(exist_ok=True)
            (tmp_path / folder / track).touch()
        ids = ["1.mp3", "2.mp3", "caf\\xe9.ogg", "missing.mp3"]
        audio = draw(tmp_path / "map.html", ids, audio_roots=[tmp_path / "a", tmp_path / "b"]).content["audio"]
        assert (audio["roots"], audio["odd"]) == (["a", "b"], {"2": "b/caf%E9.ogg"})
        assert unpack(audio["root_of"]).tolist() == [0, 1, 1, 0]

    @pytest.mark.parametrize("method", ["pca", "umap"])
    def test_progress_reaches_its_end(self, tmp_path, method):
        if method == "umap":
            pytest.importorskip("umap")
        steps, vectors = [], np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
        ids = [str(i) for i in range(60)]
        write_map(tmp_path / "x.html", ids, vectors, method=method, on_progress=lambda *step: steps.append(step))
        assert steps == sorted(steps)
        assert steps[-1] == (steps[0][1],) * 2

    def test_errors(self, tmp_path):
        with pytest.raises(SimilarityError, match="no tracks"):
            write_map(tmp_path / "map.html", [], np.zeros((0, 4), np.float32))
        with pytest.raises(ValueError, match="1 ids for 2 vectors"):
            write_map(tmp_path / "map.html", ["a"], np.zeros((2, 4), np.float32))
        assert not list(tmp_path.iterdir())

    def test_several_layers_and_silence(self, tmp_path):
        vectors = np.random.default_rng(0).normal(size=(20, 2, 5)).astype(np.float32)
        vectors[3] = 0
        report = write_map(tmp_path / "map.html", [str(i) for i in range(20)], vectors, method="pca")
        assert (report.tracks, report.method) == (20, "pca")
        assert report.size == (tmp_path / "map.html").stat().st_size
