"""The model card of a predictor: ``README.md`` in its folder, which the Hugging Face hub shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from eno.data.labels.encoder import LabelEncoder
from eno.encoders.cards import CARDS
from eno.files import read_json_object, replace_file
from eno.spec import EncoderSpec
from eno.version import __version__

CARD = "README.md"
_MARK = "<!-- written by eno; delete this line to keep your own changes -->"
_FIGURES = {"map_macro": "mAP", "f1_macro": "macro F1", "f1_micro": "micro F1", "roc_auc_macro": "ROC-AUC"}


def write_model_card(folder: Path, specs: tuple[EncoderSpec, ...], *, thresholds: Any = None) -> None:
    """Write the card from the files of a predictor. A card that somebody has made their own is kept.

    Parameters
    ----------
    thresholds : array-like [shape=(k,)], optional
        Of the labels; None if there is no calibration.
    """
    path = folder / CARD
    if path.is_file() and _MARK not in path.read_text(encoding="utf-8", errors="replace"):
        return
    record = read_json_object(folder / "training.json")
    labels = LabelEncoder.load(folder / "label_encoder.json")
    lines = [
        "---", "library_name: eno", "pipeline_tag: audio-classification", "tags: [music, music-tagging]", "---", "",
        _MARK, "", f"# A predictor of {len(labels)} tags for music", "", f"Saved with eno {__version__}.", "",
    ]  # fmt: skip
    for part in (
        _encoders(specs), _training(record), _figures(read_json_object(folder / "evaluation" / "metrics.json")),
        _labels(labels, record.get("train_positives"), thresholds), _use(),
    ):  # fmt: skip
        lines += part
    with replace_file(path) as temporary:
        temporary.write_text("\n".join(lines), encoding="utf-8")


def _encoders(specs: tuple[EncoderSpec, ...]) -> Iterator[str]:
    yield from ("## Encoder", "")
    for spec in specs:
        used = {str(value) for value in (*spec.options.values(), *spec.location.values())}
        cards = [card for card in CARDS if card.encoder == spec.name]
        exact = [card for card in cards if card.model in used]
        if "model" not in spec.options and len({card.weights for card in cards}) == 1:  # all checkpoints alike
            exact = cards
        licence = f"weights: {exact[0].weights}" if exact else "weights: see their source for the licence"
        if exact and exact[0].commercial is False:
            licence += ", not for commercial use"
        options = ", ".join(f"{name} = {value}" for name, value in spec.options.items())
        yield f"- `{spec.label}` ({options or 'no options'}); {licence}"
    yield ""


def _training(record: dict[str, Any]) -> Iterator[str]:
    yield from ("## Training", "")
    if not record:
        yield from ("Not recorded.", "")
        return
    tracks = ", ".join(f"{count} {split}" for split, count in record["tracks"].items())
    yield f"Head `{record['head']}`, {record['created'][:10]}. Tracks: {tracks}. No artist is in two of these splits."
    if (found := record.get("validation", {}).get("map_macro")) is not None:
        yield f"Macro mAP on held-out artists of the training data: {found:.3f}."
    yield ""


def _figures(metrics: dict[str, Any]) -> Iterator[str]:
    yield from ("## Figures on test tracks", "")
    if "tracks" not in metrics:
        yield from ("Not evaluated yet: `eno evaluate`.", "")
        return
    yield f"{metrics.get('artists', '?')} held-out artists; 95 % confidence intervals from leaving out one at a time."
    yield from ("", "| | " + " | ".join(_FIGURES.values()) + " |", "|---" * (len(_FIGURES) + 1) + "|")
    for level in ("tracks", "albums"):
        if level in metrics:
            intervals = metrics[level].get("intervals", {})
            yield f"| {level} | " + " | ".join(_interval(intervals.get(name)) for name in _FIGURES) + " |"
    yield ""


def _interval(found: dict[str, float | None] | None) -> str:
    if not found or found["value"] is None:
        return ""
    low, high = found.get("low"), found.get("high")
    return f"{found['value']:.3f}" + ("" if low is None or high is None else f" [{low:.3f}, {high:.3f}]")


def _labels(labels: LabelEncoder, positives: list[int] | None, thresholds: Any) -> Iterator[str]:
    yield from (f"## {len(labels)} labels", "", "| label | family | threshold | training tracks |", "|---|---|---|---|")
    for number, (name, family) in enumerate(zip(labels.all_labels, labels.families, strict=True)):
        threshold = f"{thresholds[number]:.3f}" if thresholds is not None and number < len(thresholds) else ""
        count = positives[number] if positives is not None and number < len(positives) else ""
        safe, of_family = (text.replace("|", "\\|") for text in (name, family))
        yield f"| {safe} | {of_family} | {threshold} | {count} |"
    yield ""


def _use() -> list[str]:
    return [
        "## Use", "", "```python", "from eno import EnoPredictor", "",
        'EnoPredictor.from_pretrained("user/name").predict("song.flac")  # or this folder', "```", "",
        "Tags mean little for music that is unlike the training tracks; `familiarity` below 0.05 marks it.", "",
    ]  # fmt: skip
