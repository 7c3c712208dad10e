"""The commands as a user types them."""

import csv
import json
import os
import re
import signal
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from tests.audio_files import music, write
from tests.command import eno


def eno_process(*arguments, cwd, **environment) -> subprocess.CompletedProcess:
    """Run ``eno`` in a new process, for what only a fresh interpreter shows."""
    command = [sys.executable, "-c", "from eno.cli import main; main()", *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, env=os.environ | environment, timeout=120
    )


@pytest.fixture
def folder(tmp_path):
    """Three good files in as many formats, and three bad ones."""
    good = tmp_path / "audio" / "Slowdive – Souvlaki [1993]"
    good.mkdir(parents=True)
    for kind in ("flac", "ogg", "m4a"):
        write(good, kind, music(4, 44_100), 44_100)
    (tmp_path / "audio" / "empty.mp3").touch()
    (tmp_path / "audio" / "text.wav").write_text("not music")
    (tmp_path / "audio" / "folder.flac").mkdir()
    (tmp_path / "audio" / os.fsdecode(b"caf\xe9.mp3")).write_bytes(b"")
    return tmp_path


class TestTag:
    def test_files_and_folders_on_a_fresh_install(self, folder):
        files = ["audio/Slowdive – Souvlaki [1993]", "audio/Slowdive – Souvlaki [1993]/flac.flac"]
        result = eno_process("tag", *files, cwd=folder)
        assert result.returncode == 0, result.stderr
        lines = result.stdout.splitlines()
        assert lines[::3] == [f"{files[0]}/{name}" for name in ("flac.flac", "m4a.m4a", "ogg.ogg")] + [files[1]]
        assert all(line.startswith("  genres ") for line in lines[1::3])
        assert lines[1].count(",") == lines[2].count(",") == 4

    def test_bad_files_get_a_line_and_the_others_go_on(self, folder):
        result = eno("tag", "--json", "audio", "missing.mp3", cwd=folder)
        assert result.returncode == 1
        assert "4 of 7 files could not be tagged" in result.stderr
        rows = {row["track_id"]: row for row in map(json.loads, result.stdout.splitlines())}
        assert len(rows) == 7
        assert rows["missing.mp3"]["error"] == "no such file"
        assert rows["audio/caf\udce9.mp3"]["error"].startswith("is empty")
        for kind in ("flac.flac", "m4a.m4a", "ogg.ogg"):
            row = rows[f"audio/Slowdive – Souvlaki [1993]/{kind}"]
            assert len(row["genres"]) == len(row["descriptors"]) == 5
            assert all(0 <= probability <= 1 for probability in row["descriptors"].values())

    def test_vocabulary_top_and_threshold(self, folder):
        file = "audio/Slowdive – Souvlaki [1993]/flac.flac"
        for vocabulary, word in (("mtt", "no vocals"), ("msd", "female vocalists")):
            result = eno("tag", file, "--json", "--vocabulary", vocabulary, "--top", "50", cwd=folder)
            row = json.loads(result.stdout)
            assert word in row["descriptors"]
            assert len(row["genres"]) + len(row["descriptors"]) == 50
            above = json.loads(
                eno("tag", file, "--json", "--vocabulary", vocabulary, "--threshold", "0.1", cwd=folder).stdout
            )
            assert above["genres"] == {tag: p for tag, p in row["genres"].items() if p > 0.1}

    def test_empty_folder(self, tmp_path):
        result = eno("tag", ".", cwd=tmp_path)
        assert result.returncode == 1
        assert "No audio files in ." in result.stderr


class TestEmbed:
    def test_ledger_counts_and_resume(self, folder):
        result = eno("embed", "audio", cwd=folder)
        assert result.returncode == 1
        assert "found 6 = embedded 3 + skipped 0 + failed 3" in result.stdout
        assert "empty.mp3: is empty (0 bytes)" in result.stdout
        assert "--retry-failed" in result.stderr
        assert "Coverage is 50.0%, below --min-coverage 99.0%" in " ".join(result.stderr.split())
        enough = eno("embed", "audio", "--min-coverage", "0.5", cwd=folder)
        assert enough.returncode == 0
        assert "3 of 6 files failed" in enough.stderr
        (store,) = (folder / "embeddings" / "audio").iterdir()
        assert store.name.startswith("musicnn-")
        again = eno("embed", "audio", cwd=folder)
        assert "found 6 = embedded 0 + skipped 3 + failed 3" in again.stdout
        for path in (folder / "audio").iterdir():
            if path.is_file():
                path.unlink()
        assert eno("embed", "audio", cwd=folder).returncode == 0
        shown = eno("info", store, cwd=folder)
        assert "3 tracks, 24 windows" in shown.stdout

    def test_ctrl_c_saves_and_says_how_to_go_on(self, tmp_path):
        rate = 16_000
        for i in range(30):
            (tmp_path / "audio").mkdir(exist_ok=True)
            soundfile.write(tmp_path / "audio" / f"{i:02d}.wav", music(4, rate, seed=i), rate)
        command = [sys.executable, "-c", "from eno.cli import main; main()", "embed", "audio", "--store", "store"]
        command += ["--set", "windows.count=4"]
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for line in process.stderr:  # the first line of progress: work is under way
            if "of 30" in line:
                break
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 1
        assert "Run the same command again to resume" in errors
        assert "+ left" in output
        finished = eno("embed", "audio", "--store", "store", "--set", "windows.count=4", cwd=tmp_path)
        assert finished.returncode == 0
        done = int(output.split("embedded ")[1].split()[0])
        assert 0 < done < 30
        assert f"found 30 = embedded {30 - done} + skipped {done} + failed 0" in finished.stdout

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["missing"], "missing: is not a folder"),
            (["audio", "--encoder", "musicn"], "Unknown encoder 'musicn'. Did you mean 'musicnn'?"),
            (["audio", "--device", "cuda:7"], "Device 'cuda:7' cannot be used"),
            (["audio", "--set", "windws.count=3"], "unknown key 'windws'"),
            (["audio", "--config", "other.toml"], "other.toml: cannot be read"),
            (["nothing"], "contains no audio files"),
        ],
    )
    def test_mistakes_are_named_without_a_traceback(self, folder, arguments, message):
        (folder / "nothing").mkdir()
        result = eno("embed", *arguments, cwd=folder)
        assert result.returncode == 1
        assert message in result.stderr
        assert "Traceback" not in result.stderr

    def test_unknown_key_in_eno_toml(self, folder):
        (folder / "eno.toml").write_text("encodre = 'musicnn'\n")
        result = eno("embed", "audio", cwd=folder)
        assert result.returncode == 1
        assert "eno.toml: unknown key 'encodre'. Did you mean 'encoder'?" in result.stderr

    def test_store_of_another_encoder(self, folder):
        eno("embed", "audio", "--store", "store", "--set", "musicnn.checkpoint=mtt", cwd=folder)
        result = eno("embed", "audio", "--store", "store", "--set", "musicnn.checkpoint=msd", cwd=folder)
        assert result.returncode == 1
        assert "'checkpoint': 'mtt'" in result.stderr
        assert "'checkpoint': 'msd'" in result.stderr


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    """Twelve albums of two artists' styles: pure tones and noise."""
    root = tmp_path_factory.mktemp("collection")
    rate, albums = 16_000, []
    rng = np.random.default_rng(0)
    for i in range(12):
        noisy = i % 2 == 1
        name = f"release/album/artist-{i}/{'noise' if noisy else 'tones'}"
        path = root / "raw" / "audio" / name
        path.mkdir(parents=True)
        for track in range(3):
            t = np.arange(4 * rate) / rate
            tone = 0.3 * np.sin(2 * np.pi * rng.uniform(200, 800) * t) * (1 + np.sin(3 * t)) / 2
            noise = 0.2 * rng.standard_normal(len(t)) * (1 + np.sin(3 * t)) / 2
            soundfile.write(path / f"{track}.flac", noise if noisy else tone, rate)
        albums.append({
            "name": name,
            "file_name": name,
            "artists": [{"name": f"Artist {i}", "file_name": f"artist/artist-{i}"}],
            "primary_genres": ["Harsh Noise" if noisy else "Drone"],
            "secondary_genres": ["Experimental"],
            "descriptors": (["noisy"] if noisy else ["calm"]) + ["rare"] * (i == 0),
        })  # fmt: skip
    (root / "lute.jsonl").write_text("".join(json.dumps(album) + "\n" for album in albums) + "{\n")
    soundfile.write(root / "raw" / "audio" / "loose.flac", music(4, rate), rate)
    result = eno("embed", "raw/audio", "--store", "store", "--set", "windows.count=2", cwd=root)
    assert result.returncode == 0, result.stderr
    return root


LIMITS = ["--set", "labels.min_albums=2", "--set", "labels.min_artists=2"]


def steps(root, *names, split=()):
    """Run steps of the catalogue; what each of them printed."""
    commands = {
        "import": ["import", "lute", "lute.jsonl"],
        "scan": ["scan"],
        "match": ["match"],
        "labels": ["labels", *LIMITS],
        "split": ["split", "--set", "split.val=0.25", *split],
        "explore": ["explore"],
    }
    printed = {}
    for name in names:
        result = eno(*commands[name], "--data-root", ".", cwd=root)
        assert result.returncode == 0, result.stderr
        printed[name] = result.stdout
    return printed


class TestCatalogueAndTrain:
    def test_from_albums_to_tags(self, collection):
        printed = steps(collection, "import", "scan", "match", "labels", "split")
        assert "read 13 records: 12 albums, 1 malformed, 0 repeated, 0 duplicates" in printed["import"]
        assert "malformed: line 13: is not valid JSON" in printed["import"]
        assert "found 37 files: 37 added, 0 changed, 0 unchanged" in printed["scan"]
        assert "37 tracks: 36 matched, 0 ambiguous, 1 unmatched" in printed["match"]
        assert "12 albums with tracks; tracks matched by layout 36" in printed["match"]
        assert "kept 3 genres and 2 descriptors, dropped 1" in printed["labels"]
        assert "1 album, needs 2; 1 artist, needs 2" in printed["labels"]
        assert "train  21 tracks, 7 albums, 7 artists" in printed["split"]
        assert "found 37 files: 0 added, 0 changed, 37 unchanged" in steps(collection, "scan")["scan"]

        result = eno("train", "--store", "store", "--model", "model", "--data-root", ".", cwd=collection)
        assert result.returncode == 0, result.stderr
        assert "labels  3 genres, 2 descriptors" in result.stdout
        assert "micromacro" in result.stdout
        assert "validation mAP" in result.stdout
        judged = eno("evaluate", "--model", "model", "--data-root", ".", cwd=collection)
        assert judged.returncode == 0, judged.stderr
        metrics = json.loads((collection / "model" / "evaluation" / "metrics.json").read_text())
        assert metrics["tracks"]["metrics"]["map_macro"] > 0.95 > metrics["chance_map_macro"]
        # "Experimental" is on every track: nothing to judge.
        assert metrics["tracks"]["metrics"]["labels"] == 4
        assert metrics["albums"]["metrics"]["map_macro"] > 0.95
        assert (collection / "model" / "evaluation" / "report.html").is_file()
        assert (
            "Experimental"
            in pq.read_table(collection / "model" / "evaluation" / "per_label.parquet")["label"].to_pylist()
        )
        assert "mAP" in eno("info", "model", cwd=collection).stdout

        test = "raw/audio/release/album/artist-1/noise"
        tagged = eno("tag", test, "--model", "model", "--json", "--threshold", "0.5", cwd=collection)
        rows = list(map(json.loads, tagged.stdout.splitlines()))
        assert len(rows) == 3
        for row in rows:
            assert set(row["genres"]) == {"Experimental", "Harsh Noise"}
            assert set(row["descriptors"]) == {"noisy"}
        (album,) = map(
            json.loads, eno("tag", test, "--model", "model", "--json", "--album", cwd=collection).stdout.splitlines()
        )
        assert album["folder"] == test
        assert "Harsh Noise" in album["genres"]
        assert "calm" not in album["descriptors"]
        listed = eno("tag", "--store", "store", "--model", "model", "--json", "--album", cwd=collection).stdout
        of_store = {row["folder"]: row for row in map(json.loads, listed.splitlines())}["release/album/artist-1/noise"]
        tracks = [
            json.loads(line)
            for line in eno("tag", "--store", "store", "--model", "model", "--json", cwd=collection).stdout.splitlines()
        ]
        table = eno(
            "tag",
            "--store",
            "store",
            "--model",
            "model",
            "--format",
            "parquet",
            "--out",
            "tags.parquet",
            cwd=collection,
        )
        assert table.returncode == 0, table.stderr
        written = pq.read_table(collection / "tags.parquet").to_pylist()
        assert {(row["path"], row["tag"]) for row in written} == {
            (row["track_id"], tag) for row in tracks for family in ("genres", "descriptors") for tag in row[family]
        }
        assert all(row["probability"] > row["threshold"] for row in written)
        alone = eno("tag", "--store", "store", "--model", "model", "--format", "parquet", cwd=collection)
        assert "--format parquet and --out FILE belong together" in alone.stderr
        # The store keeps half precision.
        assert of_store["genres"]["Harsh Noise"] == pytest.approx(album["genres"]["Harsh Noise"], abs=0.01)

        steps(collection, "split", split=["--new", "--set", "split.seed=7"])
        refused = eno("evaluate", "--model", "model", "--data-root", ".", cwd=collection)
        assert refused.returncode == 1
        assert "Train it again with: eno retrain" in refused.stderr.replace("\n", " ")

    def test_from_one_split_to_another(self, collection):
        steps(collection, "import", "scan", "match", "labels")
        steps(collection, "split", split=["--new"])
        for where in (
            ["--data-root", ".", "--model", "linear"],
            ["--splits", "processed/splits", "--labels", "processed/label_encoder.json", "--model", "other"],
        ):
            trained = eno("train", "--store", "store", "--head", "linear", *where, cwd=collection)
            assert trained.returncode == 0, trained.stderr
        for name in ("head/head.safetensors", "calibration.json"):
            assert (collection / "other" / name).read_bytes() == (collection / "linear" / name).read_bytes()

        same = eno("retrain", "--model", "other", "--data-root", ".", cwd=collection)
        assert "changed nothing" in same.stdout, same.stderr
        assert re.search(r"test mAP (\d\.\d{3}) → \1, \+0\.000, on the same", same.stdout), same.stdout
        steps(collection, "split", split=["--set", "split.seed=7"])
        kept = eno("retrain", "--model", "other", "--data-root", ".", cwd=collection)
        assert "changed nothing" in kept.stdout, kept.stderr
        steps(collection, "split", split=["--new", "--set", "split.seed=7"])
        new = eno("retrain", "--model", "other", "--out", "newer", "--data-root", ".", cwd=collection)
        assert new.returncode == 0, new.stderr
        assert "changed train tracks: +" in new.stdout
        said = " ".join(new.stdout.split())
        assert "(of other tracks or labels)" in said
        assert re.search(r"test mAP (\d\.\d{3} → .* on the same \d+ tracks|not compared: )", said)

    def test_compare_and_tune(self, collection):
        steps(collection, "import", "scan", "match", "labels", "split")
        options = ["--store", "store", "--data-root", "."]
        compared = eno("compare", *options, "--head", "linear", "--head", "knn", "--out", "compared", cwd=collection)
        assert compared.returncode == 0, compared.stderr
        with (collection / "compared" / "comparison.csv").open() as file:
            rows = {row["head"]: row for row in csv.DictReader(file)}
        assert set(rows) == {"linear", "knn", ""}
        assert float(rows["linear"]["map_macro"]) > float(rows[""]["map_macro"])
        assert float(rows["linear"]["tag_s"]) > 0
        alone = eno("compare", *options, "--head", "linear", cwd=collection)
        assert "There is only one candidate" in alone.stderr

        limits = ["--trials", "2", "--set", "mlp.max_epochs=2"]
        tuned = eno("tune", *options, "--head", "mlp", *limits, "--out", "best.toml", cwd=collection)
        assert tuned.returncode == 0, tuned.stderr
        assert "2 trials, 0 failed, 0 from earlier runs" in tuned.stdout
        trained = eno("train", *options, "--tuned", "best.toml", "--model", "tuned", cwd=collection)
        assert trained.returncode == 0, trained.stderr
        record = json.loads((collection / "tuned" / "training.json").read_text())
        assert record["options"]["max_epochs"] == 2

    def test_the_vectors_of_several_stores(self, collection):
        def succeeds(*arguments):
            result = eno(*arguments, "--data-root", ".", cwd=collection)
            assert result.returncode == 0, result.stderr
            return result

        steps(collection, "import", "scan", "match", "labels", "split")
        succeeds("embed", "raw/audio", "--store", "stats", "--encoder", "stats", "--set", "windows.count=1")
        both = ["--store", "store", "--store", "stats"]
        succeeds("train", *both, "--head", "linear", "--model", "joined")
        record = json.loads((collection / "joined" / "training.json").read_text())
        assert record["store"] == ["store", "stats"]
        assert [name.split("-")[0] for name in record["encoder"].split(" + ")] == ["musicnn", "stats"]
        about = eno("info", "joined", cwd=collection).stdout
        assert "checkpoint = msd" in about and "window_s = 10" in about and "2 per track, 1 per track" in about
        succeeds("evaluate", "--model", "joined")
        assert "changed nothing" in succeeds("retrain", "--model", "joined").stdout

        test = "raw/audio/release/album/artist-1/noise"
        tagged = succeeds("tag", test, "--model", "joined", "--json", "--top", "9").stdout
        turned = ["--store", "stats", "--store", "store"]
        of_stores = succeeds("tag", *turned, "--model", "joined", "--json", "--top", "9").stdout
        by_track = {row["track_id"]: row for row in map(json.loads, of_stores.splitlines())}
        for row in map(json.loads, tagged.splitlines()):
            expected = by_track[row["track_id"].removeprefix("raw/audio/")]
            assert row["genres"] == pytest.approx(expected["genres"], abs=0.02)

        succeeds("compare", *both, "--joined", "--head", "linear", "--out", "of both")
        with (collection / "of both" / "comparison.csv").open() as file:
            dims = [int(row["dim"]) for row in csv.DictReader(file) if row["head"]]
        assert sorted(dims) == [119, 200, 319]
        succeeds("tune", *both, "--head", "mlp", "--trials", "1", "--set", "mlp.max_epochs=1", "--out", "both.toml")

        # The other store is found where the predictor was trained on it.
        options = ["--store", "store", "--model", "joined"]
        found = succeeds("similar", "--tags", "Harsh Noise", *options, "--json", "-k", "3").stdout
        assert all("/noise/" in json.loads(line)["track_id"] for line in found.splitlines())
        succeeds("map", *options, "--layout", "pca")
        alone = eno("tag", *options, cwd=collection)
        assert "Specify one store of each encoder by repeating --store" in " ".join(alone.stderr.split())
        twice = eno("train", "--store", "store", "--store", "store", "--data-root", ".", cwd=collection)
        assert "Only stores of different encoders can be joined" in " ".join(twice.stderr.split())

    def test_official_splits_are_checked_for_leaks(self, collection):
        steps(collection, "import", "scan", "match", "labels", "split")
        official = collection / "official"
        official.mkdir()
        names = [f"release/album/artist-{i}/{'noise' if i % 2 else 'tones'}" for i in range(12)]
        for part, chosen in {"train": names[:6], "val": names[6:8], "test": [*names[8:], "gone"]}.items():
            (official / f"{part}.txt").write_text("\n".join(chosen))
        result = eno("split", "--official", "official", "--data-root", ".", cwd=collection)
        assert result.returncode == 0, result.stderr
        assert "1 track ids in official are not in the collection, for example gone" in result.stderr
        assert "train  18 tracks, 6 albums, 6 artists" in result.stdout
        (official / "train.txt").write_text(f"{names[0]}/0.flac")
        (official / "val.txt").write_text(f"{names[0]}/1.flac")
        result = eno("split", "--official", "official", "--data-root", ".", cwd=collection)
        assert result.returncode == 1
        assert "artist artist 0 is in train and val" in result.stderr
        assert f"album {names[0]} is in train and val" in result.stderr

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (
                ["train", "--store", "store"],
                "none have been imported. Import them: eno import lute lute.db; or, after eno scan, eno import tags",
            ),
            (["evaluate", "--model", "gone"], "gone: has no training record"),
            (["retrain", "--model", "raw"], "raw: has no training record"),
            (["compare", "--store", "store"], "processed/label_encoder.json: no such file"),
            (["scan", "gone"], "gone: is not a folder"),
            (["match"], "processed/tracks.parquet: no such file. Create it with: eno scan"),
            (["labels"], "raw/metadata/albums.parquet: no such file. Create it with: eno import lute"),
            (["labels", "--roll-up"], "--roll-up needs a hierarchy"),
            (["labels", "--set", "labels.hierarchy=gone.txt"], "gone.txt: cannot be read"),
            (["split"], "raw/metadata/albums.parquet: no such file"),
            (["explore"], "raw/metadata/albums.parquet: no such file"),
            (["import", "lute", "gone.db"], "gone.db: cannot be read"),
            (["import", "lute", "--strict", "lute.jsonl"], "lute.jsonl: line 13: is not valid JSON"),
        ],
    )
    def test_mistakes_are_named(self, collection, tmp_path, arguments, message):
        result = eno(*arguments, "--data-root", tmp_path, cwd=collection)
        assert result.returncode == 1
        assert message in result.stderr.replace("\n", " ")
        assert not list(tmp_path.rglob("*.parquet"))


class TestInfo:
    def test_installation(self, tmp_path):
        result = eno("info", cwd=tmp_path, ENO_CACHE=str(tmp_path / "cache"))
        assert result.returncode == 0
        assert f"cache       {tmp_path / 'cache'}" in result.stdout

    def test_audio_and_errors(self, folder):
        anti_phase = np.outer(np.sin(np.arange(32_000) * 0.1), [1, -1])
        soundfile.write(folder / "anti.wav", anti_phase, 16_000)
        result = eno("info", "anti.wav", "audio/empty.mp3", "audio", cwd=folder)
        assert result.returncode == 1
        assert "2.00 s, 16000 Hz, 2 channels" in result.stdout
        assert "loudest channel" in result.stdout
        assert "is empty" in result.stderr
        assert "audio: is a folder, expected an audio file" in result.stderr


def test_names_that_are_not_utf8_are_shown_everywhere(folder):
    odd = os.fsdecode(b"caf\xe9")
    write(folder, "wav-16", music(1, 16_000), 16_000).rename(folder / f"{odd}.wav")
    shown = eno("info", f"{odd}.wav", cwd=folder)
    assert shown.returncode == 0, shown.stderr
    assert r"caf\xe9.wav" in shown.stdout
    embedded = eno("embed", "audio", "--store", "store", cwd=folder)
    assert r"caf\xe9.mp3: is empty" in embedded.stdout
    scanned = eno("scan", "audio", "--data-root", "data", cwd=folder)
    assert r"caf\xe9.mp3: is empty" in scanned.stdout
    missing = eno("import", "lute", f"{odd}.db", cwd=folder)
    assert r"caf\xe9.db: cannot be read" in missing.stderr


def test_torchaudio_of_another_pytorch_is_explained(tmp_path):
    (tmp_path / "torchaudio.py").write_text("raise OSError('libc10_cuda.so: cannot open shared object file')")
    result = eno_process("tag", "song.mp3", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert result.returncode == 1
    assert "libc10_cuda.so" in result.stderr
    assert "scripts/repair_torchaudio.py" in result.stderr
    assert "Traceback" not in result.stderr


def test_version_and_help(tmp_path):
    assert eno_process("--version", cwd=tmp_path).stdout.strip() == __import__("eno").__version__
    assert "embed" in eno_process("--help", cwd=tmp_path).stdout
