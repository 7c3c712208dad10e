"""The evaluation report as one HTML file: no script, no network."""

from __future__ import annotations

from pathlib import Path

from eno.evaluation import charts
from eno.evaluation.bootstrap import HEADLINE, Interval
from eno.evaluation.by_label import BANDS, FAMILIES
from eno.evaluation.diagnosis import Finding
from eno.evaluation.errors import WorstError
from eno.evaluation.evaluation import Evaluation, Level
from eno.page import Chapter, Html, audio_address, picture, table, text, with_range, write_page
from eno.plotting import lift_map

NAMES = {"map_macro": "mAP, macro", "f1_macro": "F1, macro", "f1_micro": "F1, micro", "roc_auc_macro": "ROC-AUC, macro"}
"""What the headline metrics are called."""

_OTHERS = {
    "precision_macro": "precision, macro",
    "recall_macro": "recall, macro",
    "precision_micro": "precision, micro",
    "recall_micro": "recall, micro",
    "precision_samples": "precision, by row",
    "recall_samples": "recall, by row",
    "f1_samples": "F1, by row",
    "map_micro": "mAP, micro",
    "lrap": "label ranking average precision",
    "coverage_error": "coverage error, labels",
    "hamming_loss": "Hamming loss",
    "ece": "calibration error, all decisions",
    "ece_macro": "calibration error, by label",
}
_ALL, _WORST, _BEST = 150, 60, 20  # so many labels are all shown; else so many from either end
_MORE = 8  # labels of a track that are named
_MAPPED = 3  # fewer labels make no map
_STYLE = """
.cards { display: grid; gap: .8rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 18rem), 1fr));
         width: 100%; }
.row > h3 { width: 100%; margin: 1rem 0 0; }
.card { border: 1px solid var(--line); border-radius: 6px; padding: .6rem .8rem; font-size: .9rem; min-width: 0; }
.card h3 { font-size: 1rem; margin: 0 0 .3rem; } .card p { margin: .3rem 0; } .card audio { width: 100%; }
.card.found { border-left: 4px solid #c2691c; } .card.fine { border-left: 4px solid #3f8f5f; }
"""


def write_html(found: Evaluation, path: Path, *, audio_root: Path | None = None) -> None:
    """Write the report.

    Parameters
    ----------
    found : Evaluation
    path : Path
        The file. The same evaluation gives the same bytes.
    audio_root : Path, optional
        Folder that the track ids are relative to; with it the worst errors can be listened to, as long as both places
        stay where they are to each other.

    Raises
    ------
    MissingExtra
        matplotlib is not installed.
    """
    chapters = [
        *(_overview(found), _diagnosis(found), _ranking(found), _thresholds(found), _albums(found)),
        *_confusion(found),
        *_listening(found, path, audio_root),
        _labels(found),
    ]
    metrics = found.tracks.metrics
    hints = [
        f"{metrics.rows:,} tracks, {found.albums.metrics.rows:,} albums and {found.artists:,} artists that were not "
        f"heard in training; {metrics.labels} labels.",
        f"Left out of all figures: {metrics.without_positives} labels that no test track has, and "
        f"{metrics.without_negatives} that all have. {metrics.rows_without_labels} tracks have no label.",
    ]
    write_page(path, "Evaluation", "How good the tags are", chapters, hints=hints, style=_STYLE)


def _overview(found: Evaluation) -> Chapter:
    levels = {"tracks": found.tracks, "albums": found.albums}
    shown = {name: level.intervals for name, level in levels.items()}
    rows = [(title, *(_interval(one[name]) for one in shown.values())) for name, title in NAMES.items()]
    others = [
        (title, *(f"{getattr(level.metrics, name):.3f}" for level in levels.values()))
        for name, title in _OTHERS.items()
    ]
    return Chapter(
        "Overview",
        f"Below a figure is its interval of 95 %, from {found.resamples:,} draws of whole artists with replacement: so "
        f"far another test part of this size may be off. A ranking by chance has a macro mAP of {found.chance:.3f}, a "
        "ROC-AUC of 0.5. Macro is the mean over labels, micro counts all decisions together.",
        (
            (
                picture("headline metrics with intervals", charts.headline(shown, NAMES)),
                table("headline", ("", *levels), rows),
            ),
            tuple(table(f"{name}: families and bands", *_parts(level)) for name, level in levels.items()),
            (table("further metrics", ("", *levels), others),),
        ),
    )


def _interval(one: Interval) -> Html:
    return with_range(one.value, one.low, one.high)


def _parts(level: Level) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    rows: list[tuple[object, ...]] = []
    for name in (*FAMILIES, *BANDS):
        if name in level.parts:
            metrics = level.parts[name]
            values = ["…"] * len(HEADLINE) if metrics is None else [f"{getattr(metrics, one):.3f}" for one in HEADLINE]
            rows.append((name, metrics.labels if metrics else 0, *values))
    return ("", "labels", "mAP", "F1 macro", "F1 micro", "ROC-AUC"), rows


def _diagnosis(found: Evaluation) -> Chapter:
    cards = "".join(map(_finding, found.findings))
    return Chapter("Diagnosis", "The common issues, found or not.", ((f'<div class="cards">{cards}</div>',),))


def _finding(finding: Finding) -> str:
    state, word = {True: ("found", "found"), False: ("fine", "not found"), None: ("", "not known")}[finding.found]
    remedy = f"<p><b>Try</b> {text(finding.remedy)}</p>" if finding.remedy else ""
    title = f"{text(finding.issue)}: {word}"
    return f'<div class="card {state}"><h3>{title}</h3><p>{text(finding.evidence)}.</p>{remedy}</div>'


def _ranking(found: Evaluation) -> Chapter:
    shown = (
        picture("precision against recall", charts.precision_recall_curves(found.ranking)),
        picture("average precision against training tracks", charts.precision_by_frequency(found.per_label)),
    )
    return Chapter("Ranking", "How well tracks are ranked, whatever the thresholds.", (shown,))


def _thresholds(found: Evaluation) -> Chapter:
    shown = (
        picture(
            "F1 over a common threshold",
            charts.threshold_curves(found.thresholds, found.tracks.metrics, found.common_threshold),
        ),
        picture("reliability diagram", charts.reliability_diagram(found.reliability)),
    )
    rows: tuple[tuple[str, ...], ...] = (shown,)
    if found.fixed:
        compared = [
            (
                NAMES[name],
                f"{getattr(found.fixed, name):.3f}",
                f"{getattr(found.tracks.metrics, name):.3f}",
                _interval(gain),
            )
            for name, gain in found.gain.items()
        ]
        columns = ("", "not calibrated, 0.5", "now", "difference")
        rows += ((table("what calibration and thresholds are worth", columns, compared),),)
    return Chapter(
        "Thresholds and calibration",
        f"Expected calibration error {found.tracks.metrics.ece:.3f} over all decisions, in 15 bins of equal width.",
        rows,
    )


def _albums(found: Evaluation) -> Chapter:
    rows = [
        (way + " (now)" * (way == found.aggregation), *(f"{getattr(metrics, name):.3f}" for name in HEADLINE))
        for way, metrics in found.aggregations.items()
    ]
    return Chapter(
        "Albums",
        "Labels are of albums, so the tracks of an album decide together; these are ways to do so, with the thresholds "
        "of tracks.",
        ((table("from tracks to albums", ("", "mAP", "F1 macro", "F1 micro", "ROC-AUC"), rows),),),
    )


def _confusion(found: Evaluation) -> list[Chapter]:
    if not found.confused and len(found.error_map.labels) < _MAPPED:
        return []
    rows = [(one.predicted, one.missed, one.tracks, f"{one.lift:.1f}") for one in found.confused]
    blocks = []
    if rows:
        blocks.append(table("predicted in place of another", ("predicted", "true, missed", "tracks", "lift"), rows))
    if len(found.error_map.labels) >= _MAPPED:
        title = "Wrong on the same tracks; grey: never"
        drawn = lift_map(title, found.error_map.labels, found.error_map.lift)
        blocks.append(picture("co-occurrence of errors", drawn))
    explanation = (
        "Which labels are taken for which, and which go wrong together. Lift says how many times as often as if the "
        "errors had nothing to do with each other."
    )
    return [Chapter("Confusion", explanation, tuple((block,) for block in blocks))]


def _listening(found: Evaluation, path: Path, audio_root: Path | None) -> list[Chapter]:
    rows = tuple(
        (f'<h3>{title}</h3><div class="cards">{cards}</div>',)
        for kind, title in (("wrong", "Predicted, and not among the labels"), ("missed", "Missed"))
        if (cards := "".join(_card(one, path, audio_root) for one in found.worst if one.kind == kind))
    )
    explanation = (
        "The surest decisions that are wrong. Now and then it is the label that is, or it is true of another track of "
        "the album only."
    )
    return [Chapter("Listen", explanation, rows)] if rows else []


def _card(error: WorstError, path: Path, audio_root: Path | None) -> str:
    sign = "&gt;" if error.kind == "wrong" else "≤"
    player, name = "", text(error.track_id).replace("/", "/<wbr>")
    if audio_root is not None:
        address = text(audio_address(audio_root, error.track_id, path.parent))
        player = f'<audio controls preload="none" src="{address}"></audio>'
        name = f'<a href="{address}">{name}</a>'
    return (
        f'<div class="card"><h3>{text(error.label)}</h3><p>{error.probability:.3f} {sign} {error.threshold:.3f}</p>'
        f"{player}<p>{name}</p><p><b>true</b> {_few(error.true)}<br><b>predicted</b> {_few(error.predicted)}</p></div>"
    )


def _few(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _MORE} more" if len(names) > _MORE else ""
    return text(", ".join(names[:_MORE]) + more or "nothing")


def _labels(found: Evaluation) -> Chapter:
    rows = [row for row in found.per_label.to_pylist() if row["average_precision"] is not None]
    title = f"all {len(rows)} labels, the worst first"
    if len(rows) > _ALL:
        title = f"the {_WORST} worst and the {_BEST} best of {len(rows)} labels"
        rows = [*rows[:_WORST], *rows[-_BEST:]]
    columns = ("label", "band", "training", "test", "predicted", "AP", "lift", "P", "R", "F1", "ROC-AUC", "threshold")
    shown: list[tuple[object, ...]] = [
        (
            Html(text(row["label"])),
            row["band"],
            *(row[name] for name in ("train_positives", "test_positives", "predicted")),
            f"{row['average_precision']:.3f}",
            f"{row['lift']:.1f}",
            *(f"{row[name]:.2f}" for name in ("precision", "recall", "f1", "roc_auc", "threshold")),
        )
        for row in rows
    ]
    return Chapter(
        "Labels",
        "Training, test and predicted are tracks. Lift is average precision over that of chance. All of it is in "
        "per_label.parquet.",
        ((table(title, columns, shown),),),
    )
