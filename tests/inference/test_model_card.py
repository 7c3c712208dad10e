"""The model card of a predictor."""

import json

import numpy as np

from eno import EnoPredictor
from eno.inference.model_card import CARD
from eno.inference.predictor_folder import update_model_card
from eno.models import create_head
from eno.models.calibration import fit_calibration
from tests.fakes import ProjectionEncoder
from tests.inference.test_sources import LABELS, X, Y, save_predictor


def card(folder):
    return (folder / CARD).read_text("utf-8")


def test_card_has_labels_thresholds_training_and_figures(tmp_path):
    head = create_head("linear").fit(X, Y)
    calibration = fit_calibration(head.predict_proba(X), Y)
    EnoPredictor(ProjectionEncoder(), head, LABELS, calibration=calibration).save(tmp_path / "tagger")
    folder = tmp_path / "tagger"
    text = card(folder)
    assert text.startswith("---\nlibrary_name: eno\n") and "\n# A predictor of 3 tags for music\n" in text
    assert "Not recorded." in text and "Not evaluated yet" in text
    for name, family, threshold in zip(LABELS.all_labels, LABELS.families, calibration.thresholds, strict=True):
        assert f"| {name} | {family} | {threshold:.3f} |" in text

    record = {
        "head": "linear",
        "created": "2026-01-02T00:00:00",
        "tracks": {"train": 40, "val": 10},
        "train_positives": [7, 8, 9],
    }
    (folder / "training.json").write_text(json.dumps(record))
    (folder / "evaluation").mkdir()
    intervals = {
        "map_macro": {"value": 0.5, "low": 0.41234, "high": 0.6},
        "f1_macro": {"value": 0.3, "low": None, "high": None},
    }
    (folder / "evaluation" / "metrics.json").write_text(json.dumps({"artists": 12, "tracks": {"intervals": intervals}}))
    update_model_card(folder)
    text = card(folder)
    assert "Head `linear`, 2026-01-02. Tracks: 40 train, 10 val." in text
    assert "| tracks | 0.500 [0.412, 0.600] | 0.300 |" in text
    assert "| shoegaze | genre | " in text and " | 7 |" in text


def test_card_that_somebody_has_changed_is_kept(tmp_path):
    save_predictor(tmp_path)
    (tmp_path / CARD).write_text("mine")
    save_predictor(tmp_path)
    assert card(tmp_path) == "mine"


def test_licences(tmp_path):
    from eno.inference.model_card import _encoders
    from eno.spec import EncoderSpec

    def lines(name, **options):
        spec = EncoderSpec(name=name, options=options, revision="1", weights_sha256="", sample_rate=16_000,
                           window_samples=16_000, layers=("a",), pooling="mean", dim=1)  # fmt: skip
        return "\n".join(_encoders((spec,)))

    assert "CC BY-NC 4.0, not for commercial use" in lines("mert", model="m-a-p/MERT-v1-95M")
    assert "ISC" in lines("musicnn", checkpoint="both")
    assert "see their source" in lines("clap", model="somebody/else")
    assert np.all([text not in lines("my:Own") for text in ("ISC", "NC")])
