import subprocess
import sys

import pytest

import eno

HEAVY = ["torch", "torchaudio", "faiss", "sklearn", "scipy", "lightgbm", "transformers", "pyarrow", "clearml", "numpy"]


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_importing_eno_loads_no_heavy_library():
    loaded = run(f"import sys, eno; print([name for name in {HEAVY} if name in sys.modules])")
    assert loaded.strip() == "[]"


def test_command_line_shows_its_help_without_heavy_libraries():
    code = f"import sys, eno.cli; print([name for name in {HEAVY} if name in sys.modules])"
    assert run(code).strip() == "[]"


@pytest.mark.parametrize("module", ["eno.similarity.sounds_like", "eno.tagging"])
def test_a_search_does_not_wait_for_libraries_of_training(module):
    names = ["torch", "sklearn", "scipy.stats", "lightgbm", "transformers"]
    loaded = run(f"import sys, {module}; print([name for name in {names} if name in sys.modules])")
    assert loaded.strip() == "[]"


def test_an_evaluation_does_not_wait_for_encoders_of_transformers():
    assert run("import sys, eno.cnn.predictor; print('transformers' in sys.modules)").strip() == "False"


@pytest.mark.parametrize("name", eno.__all__)
def test_public_names_can_be_had_and_are_described(name):
    assert getattr(eno, name).__doc__
    assert name in dir(eno)


@pytest.mark.parametrize(
    "place",
    [
        "eno.data.features:AudioFeatureExtractor",
        "eno.data.labels:LabelEncoder",
        "eno.data.dataset:EnoDataset",
        "eno.models.classifier:SimpleCNN",
        "eno.training.trainer:train_one_epoch",
        "eno.training.trainer:validate",
        "eno.inference.predictor:EnoPredictor",
    ],
)
def test_names_of_the_users_guide_can_be_imported(place):
    module, name = place.split(":")
    namespace: dict[str, object] = {}
    exec(f"from {module} import {name}", namespace)  # as the guide writes it
    assert callable(namespace[name])


def test_other_names_cannot():
    with pytest.raises(AttributeError, match="no attribute 'EnoPredicter'"):
        eno.EnoPredicter  # noqa: B018
