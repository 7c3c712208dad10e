"""Predictors from a folder, from ClearML's model registry, and from the Hugging Face hub."""

import zipfile
from fnmatch import fnmatch

import numpy as np
import pytest

from eno import EnoPredictor, LabelEncoder
from eno.errors import ModelError
from eno.inference.sources import PREDICTOR_FILES, push_to_hub
from eno.models import HEADS, create_head
from eno.tracking import clearml_models
from tests.clearml_stub import clearml_stub
from tests.fakes import ProjectionEncoder
from tests.hub_stub import hub_stub

LABELS = LabelEncoder(["shoegaze"], ["melancholic", "noisy"])
X = np.random.default_rng(0).standard_normal((60, ProjectionEncoder().spec.dim)).astype(np.float32)
Y = (X[:, :3] > 0).astype(np.float32)


def save_predictor(folder, head="linear"):
    few, penalty = {"max_epochs": 1}, {"l2": (0.1,)}
    options = {
        "mlp": few, "lightgbm": {"rounds": 2}, "kernel": penalty,
        "blend": {"heads": ("linear", "knn"), "options": {"linear": penalty}},
        "auto": {"heads": ("linear", "mlp"), "options": {"linear": penalty, "mlp": few}},
    }  # fmt: skip
    fitted = create_head(head, **options.get(head, {})).fit(X, Y)
    EnoPredictor(ProjectionEncoder(), fitted, LABELS).save(folder)
    return fitted.predict_proba(X)


def load(source):
    return EnoPredictor.from_pretrained(source, encoder=ProjectionEncoder()).predict_vectors(X)


def test_folder(tmp_path):
    expected = save_predictor(tmp_path / "p")
    np.testing.assert_allclose(load(tmp_path / "p"), expected, atol=1e-6)
    with pytest.raises(ModelError, match="not a predictor"):
        load(tmp_path / "q")


class TestClearML:
    def test_id_of_a_model(self, tmp_path, monkeypatch):
        expected = save_predictor(tmp_path / "p")
        with zipfile.ZipFile(tmp_path / "predictor.zip", "w") as packed:
            for path in (tmp_path / "p").rglob("*.*"):
                packed.write(path, path.relative_to(tmp_path / "p"))
        monkeypatch.setenv("ENO_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("CLEARML_CACHE_DIR", str(tmp_path / "clearml"))
        good, gone = "a" * 32, "c" * 32
        with clearml_stub() as (stub, environment):
            for name, value in environment.items():
                monkeypatch.setenv(name, value)
            address = environment["CLEARML_FILES_HOST"]
            stub.files["predictor.zip"] = (tmp_path / "predictor.zip").read_bytes()
            stub.models[good] = {"id": good, "name": "eno", "uri": f"{address}/predictor.zip", "framework": "Custom"}
            found = load(good)
            assert stub.bodies("models.get_by_id")[0]["model"] == good
            with pytest.raises(ModelError, match=r"c{32} could not be downloaded .*clearml-init"):
                load(gone)
        np.testing.assert_allclose(found, expected, atol=1e-6)
        assert [path.name.startswith(f"{good}-") for path in (tmp_path / "cache" / "models").iterdir()] == [True]

    def test_model_that_is_not_a_predictor(self, tmp_path, monkeypatch):
        (tmp_path / "weights").write_bytes(b"no archive")
        monkeypatch.setattr(clearml_models, "_download", lambda model_id: tmp_path / "weights")
        with pytest.raises(ModelError, match=r"d{32} is not a predictor"):
            load("d" * 32)


class TestHub:
    @pytest.fixture
    def hub(self, tmp_path, monkeypatch):
        """Two commits of one repository; returns the requests that a local snapshot_download received."""
        expected = {revision: save_predictor(tmp_path / revision, head) for revision, head in
                    (("main", "linear"), ("v1", "knn"))}  # fmt: skip
        requests = []

        def snapshot_download(repo_id, *, revision=None, allow_patterns):
            requests.append((repo_id, revision, allow_patterns))
            folder = tmp_path / (revision or "main")
            if repo_id != "me/tagger" or not folder.is_dir():
                raise OSError("404 Client Error.\nRepository Not Found")
            return str(folder)

        monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
        monkeypatch.chdir(tmp_path)
        return expected, requests

    def test_repository_with_and_without_a_revision(self, hub):
        expected, requests = hub
        np.testing.assert_allclose(load("me/tagger"), expected["main"], atol=1e-6)
        np.testing.assert_allclose(load("me/tagger@v1"), expected["v1"], atol=1e-6)
        assert [request[:2] for request in requests] == [("me/tagger", None), ("me/tagger", "v1")]

    def test_repository_or_revision_that_does_not_exist(self, hub):
        for name in ("me/other", "me/tagger@v2"):
            with pytest.raises(ModelError, match=rf"{name}: there is no such folder.*404 Client Error"):
                load(name)

    def test_local_paths_are_not_looked_up(self, hub, tmp_path):
        (tmp_path / "models").mkdir()
        for name in ("models/typo", "typo", "a/b/c", "../a", tmp_path / "me" / "tagger"):
            with pytest.raises(ModelError, match="not a predictor"):
                load(name)
        assert hub[1] == []

    @pytest.mark.parametrize("head", list(HEADS))
    def test_all_files_of_a_predictor_are_downloaded_and_no_code(self, head, tmp_path):
        if head not in ("zero_shot", "probabilities"):
            save_predictor(tmp_path, head)
        names = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.*")]
        assert all(any(fnmatch(name, pattern) for pattern in PREDICTOR_FILES) for name in names)
        assert not any(fnmatch(name, pattern) for pattern in PREDICTOR_FILES for name in ("model.py", "head/head.py"))


class TestPush:
    @pytest.fixture
    def stub(self, tmp_path, monkeypatch):
        with hub_stub() as stub:
            # huggingface_hub reads the environment when it is imported.
            monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", stub.address)
            monkeypatch.setattr("huggingface_hub.hf_api.api.endpoint", stub.address)
            template = stub.address + "/{repo_id}/resolve/{revision}/{filename}"
            monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
            monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
            monkeypatch.chdir(tmp_path)
            yield stub

    def test_what_is_pushed_can_be_loaded(self, stub, tmp_path):
        expected = save_predictor(tmp_path / "p")
        (tmp_path / "p" / "training_tracks.parquet").write_bytes(b"names of my files")
        address = EnoPredictor.load(tmp_path / "p", encoder=ProjectionEncoder()).push_to_hub(
            "me/tagger", folder=tmp_path / "p", token="hf_secret"
        )
        assert address.startswith(f"{stub.address}/me/tagger/commit/")
        assert stub.private == {"me/tagger": True}
        assert dict(stub.requests)["/api/repos/create"] == "Bearer hf_secret"
        assert {"predictor.json", "README.md", "head/head.json"} < stub.files["me/tagger"].keys()
        assert "training_tracks.parquet" not in stub.files["me/tagger"]
        np.testing.assert_allclose(load("me/tagger"), expected, atol=1e-6)

    def test_a_predictor_that_is_in_no_folder(self, stub, tmp_path):
        save_predictor(tmp_path / "p")
        EnoPredictor.load(tmp_path / "p", encoder=ProjectionEncoder()).push_to_hub("me/other", private=False, token="t")
        assert "\n# A predictor of 3 tags" in stub.files["me/other"]["README.md"].decode()
        assert stub.private == {"me/other": False}

    def test_errors(self, stub, tmp_path):
        with pytest.raises(ModelError, match="not a predictor"):
            push_to_hub(tmp_path, "me/tagger")
        save_predictor(tmp_path / "p")
        with pytest.raises(ModelError, match=r"a/b/c: could not be uploaded .*hf auth login"):
            push_to_hub(tmp_path / "p", "a/b/c", token="t")
