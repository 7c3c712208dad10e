"""Zero-shot tagging: prompts, files of tags and of labelled tracks, and the command."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from eno import EnoPredictor, LabelEncoder, WindowPolicy, load_encoder
from eno.embeddings.store.embedding_store import EmbeddingStore
from eno.errors import ConfigError, LabelError
from eno.inference.zero_shot import read_labelled, read_tags, zero_shot_head
from tests.checkpoints import music, save_clap
from tests.command import eno
from tests.fakes import ProjectionEncoder


class TextHashEncoder(ProjectionEncoder):
    """Encodes texts as pseudo-random vectors, and records them."""

    logit_scale = 10.0

    def __init__(self):
        super().__init__(dim=64)
        self.asked = []

    def encode_text(self, texts):
        self.asked += texts
        vectors = np.stack([np.random.default_rng(abs(hash(text)) % 2**32).standard_normal(64) for text in texts])
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


class TestPrompts:
    def test_a_tag_is_the_mean_of_its_prompts(self):
        encoder = TextHashEncoder()
        head = zero_shot_head(encoder, LabelEncoder([], ["jazz", "dub"]), ["{} music", "a {} song"])
        assert set(encoder.asked) == {"jazz music", "a jazz song", "dub music", "a dub song", "music", "a song"}
        assert len(encoder.asked) == 6
        for row, texts in zip(
            [*head.prompts, head.neutral],
            [["dub music", "a dub song"], ["jazz music", "a jazz song"], ["music", "a song"]],
            strict=True,
        ):
            mean = encoder.encode_text(texts).mean(axis=0)
            np.testing.assert_allclose(row, mean / np.linalg.norm(mean), atol=1e-6)

    def test_a_prompt_that_is_the_tag_alone(self):
        encoder = TextHashEncoder()
        zero_shot_head(encoder, LabelEncoder([], ["jazz"]), ["{}"])
        assert set(encoder.asked) == {"jazz", "music"}

    def test_errors(self):
        with pytest.raises(ConfigError, match=r"The prompt 'music' has no \{\}"):
            zero_shot_head(TextHashEncoder(), LabelEncoder([], ["jazz"]), ["music"])
        with pytest.raises(ConfigError, match="no tags"):
            zero_shot_head(TextHashEncoder(), LabelEncoder([], []))
        with pytest.raises(ConfigError, match="'projection' cannot encode text"):
            zero_shot_head(ProjectionEncoder(), LabelEncoder([], ["jazz"]))


class TestFiles:
    def test_tags(self, tmp_path):
        (tmp_path / "tags.txt").write_text("\ufeff# mine\nshoegaze\n\n  dream pop \nShoegaze\u200b\n", "utf-8")
        assert read_tags(tmp_path / "tags.txt").descriptors == ["dream pop", "shoegaze"]
        LabelEncoder(["jazz"], ["calm"]).save(tmp_path / "labels.json")
        assert read_tags(tmp_path / "labels.json").genres == ["jazz"]
        (tmp_path / "tags.txt").write_text("# none\n")
        with pytest.raises(LabelError, match=r"tags\.txt: no tags found"):
            read_tags(tmp_path / "tags.txt")
        with pytest.raises(LabelError, match="cannot be read"):
            read_tags(tmp_path / "gone.txt")

    def test_labelled_tracks(self, tmp_path):
        (tmp_path / "some.csv").write_text('track,tag\na.mp3,Jazz\nb.mp3,\na.mp3,calm\n"c, d.mp3",polka\n')
        tracks, Y = read_labelled(tmp_path / "some.csv", LabelEncoder(["jazz"], ["calm", "loud"]))
        assert tracks == ["a.mp3", "b.mp3", "c, d.mp3"]
        np.testing.assert_array_equal(Y, [[1, 1, 0], [0, 0, 0], [0, 0, 0]])
        (tmp_path / "some.csv").write_text("path,tag\na.mp3,jazz\n")
        with pytest.raises(LabelError, match="expected the columns track and tag"):
            read_labelled(tmp_path / "some.csv", LabelEncoder([], ["jazz"]))


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    """Six files, a CLAP checkpoint, and a settings file that refers to it."""
    root = tmp_path_factory.mktemp("collection")
    (root / "audio").mkdir()
    for i, wave in enumerate(music(12 * 48_000, 48_000, count=6)):
        soundfile.write(root / "audio" / f"{i}.flac", np.clip(wave, -1, 1), 48_000)
    save_clap(root / "clap")
    (root / "eno.toml").write_text('[clap]\nmodel = "clap"\n[windows]\ncount = 2\n')
    return root


def rows_of(result: SimpleNamespace) -> list[dict]:
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


TAGS = ("--tags", "shoegaze, dream pop,jazz", "--encoder", "clap")


class TestCommand:
    def test_any_words_can_be_tags(self, collection):
        result = eno("tag", "audio/0.flac", *TAGS, cwd=collection)
        assert result.returncode == 0, result.stderr
        file, tags = result.stdout.splitlines()
        assert file == "audio/0.flac"
        assert tags.startswith("  tags ")
        assert all(word in tags for word in ("shoegaze", "dream pop", "jazz"))
        assert "not calibrated" in result.stderr

    def test_store_and_files_give_the_same_tags(self, collection):
        assert eno("embed", "audio", "--encoder", "clap", "--store", "store", cwd=collection).returncode == 0
        from_files = rows_of(eno("tag", "audio", *TAGS, "--json", cwd=collection))
        from_store = rows_of(eno("tag", "--store", "store", *TAGS, "--json", cwd=collection))
        assert [row["track_id"] for row in from_files] == [f"audio/{row['track_id']}" for row in from_store]
        for file, stored in zip(from_files, from_store, strict=True):
            # The store keeps half precision.
            assert stored["tags"] == pytest.approx(file["tags"], abs=0.01)

    def test_python_and_command_give_the_same_tags(self, collection, monkeypatch):
        monkeypatch.chdir(collection)
        encoder = load_encoder("clap", model="clap", device="cpu")
        predictor = EnoPredictor.zero_shot(encoder, ["shoegaze", "dream pop", "jazz"], policy=WindowPolicy(count=2))
        expected = {one.tag: one.probability for one in predictor.predict_tags("audio/3.flac")}
        assert rows_of(eno("tag", "audio/3.flac", *TAGS, "--json", cwd=collection))[0]["tags"] == pytest.approx(
            expected, abs=1e-4
        )

    def test_calibrate_and_save(self, collection):
        rows = ["track,tag", *(f"audio/{i}.flac,{'jazz' if i % 2 else ''}" for i in range(6))]
        (collection / "some.csv").write_text("\n".join(rows))
        calibrated = rows_of(
            eno("tag", "audio", *TAGS, "--calibrate", "some.csv", "--save", "mine", "--json", cwd=collection)
        )
        assert 0.3 < np.mean([row["tags"]["jazz"] for row in calibrated]) < 0.6  # half of the tracks are jazz
        assert np.mean([row["tags"]["shoegaze"] for row in calibrated]) < 0.2  # no track is
        again = rows_of(eno("tag", "audio", "--model", "mine", "--json", cwd=collection))
        assert again == calibrated

    def test_calibrate_on_a_store_and_tag_files(self, collection):
        more = ("--set", "windows.count=3")
        assert eno("embed", "audio", "--encoder", "clap", "--store", "three", *more, cwd=collection).returncode == 0
        (collection / "ids.csv").write_text("track,tag\n" + "".join(f"{i}.flac,jazz\n" for i in range(4)))
        arguments = ("--store", "three", *TAGS, "--calibrate", "ids.csv", "--save", "kept", "--json")
        stored = rows_of(eno("tag", *arguments, cwd=collection))
        files = rows_of(eno("tag", "audio", "--model", "kept", "--json", cwd=collection))
        for file, one in zip(files, stored, strict=True):
            assert one["tags"] == pytest.approx(file["tags"], abs=0.01)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (("audio/0.flac", "--tags", "jazz", "--encoder", "musicnn"), "'musicnn' cannot encode text"),
            (("audio/0.flac", "--encoder", "clap"), "has no tags of its own. Specify some with --tags"),
            (
                ("audio/0.flac", "--tags", "jazz", "--model", "mine"),
                "--tags and --tags-file cannot be combined",
            ),
            (("--tags", "jazz"), "Specify audio files or folders, or a store"),
            (("audio/0.flac", "--prompt", "a {} song"), "--prompt and --calibrate need --tags"),
            (("audio/0.flac", "--tags", "jazz", "--prompt", "a song"), "has no {} for the tag"),
            (("audio/0.flac", "--tags", "jazz", "--set", "clap.output=pooled"), "output = 'projection'"),
            (("audio/0.flac", "--tags", "jazz", "--set", "clap.model=me/missing"), "hf download me/missing"),
            (("audio/0.flac", "--tags", "jazz", "--calibrate", "few.csv"), "needs at least 4 labelled rows"),
        ],
    )
    def test_errors_are_one_clear_line(self, collection, arguments, message):
        (collection / "few.csv").write_text("track,tag\naudio/0.flac,jazz\n")
        result = eno("tag", *arguments, cwd=collection)
        assert result.returncode == 1
        assert message in " ".join(result.stderr.split())
        assert "Traceback" not in result.stderr

    def test_store_of_another_encoder_is_refused(self, collection):
        EmbeddingStore.create(collection / "other", ProjectionEncoder().spec, policy=EnoPredictor.musicnn().policies[0])
        result = eno("tag", "--store", "other", *TAGS, cwd=collection)
        assert result.returncode == 1
        assert "Encoders do not match" in result.stderr


def test_list_of_encoders(collection):
    result = eno("encoders", cwd=collection)
    assert result.returncode == 0, result.stderr
    assert "CC BY-NC 4.0 (non-commercial)" in result.stdout
    lines = result.stdout.splitlines()
    assert any(line.startswith("clap ") and "clap  available" in line for line in lines)  # that of the settings
    assert any(line.startswith("stats ") and line.endswith("available") for line in lines)
    assert max(map(len, lines)) < 100
