"""Reports of the catalogue's steps, as lines and tables for the terminal."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from rich import box
from rich.markup import escape
from rich.table import Table

from eno.data.imports.items import LabelImportReport
from eno.data.labels.encoder import LabelEncoder
from eno.data.library.scanning import ScanReport
from eno.data.lute.importing import ImportReport
from eno.data.matching.evidence import KINDS, says_something
from eno.data.matching.explaining import Explanation
from eno.data.matching.matcher import MatchReport
from eno.data.splits.artist_split import SplitReport
from eno.data.splits.stratify import SPLITS
from eno.files import visible
from eno.models.calibration.calibrate import Calibration

_EXAMPLES = 5


def import_lines(report: ImportReport) -> list[str]:
    """Summarise an import."""
    lines = [
        f"read {report.read} records: {report.albums} albums, {report.malformed} malformed, {report.repeated} repeated,"
        f" {report.duplicates} duplicates ({report.albums / max(report.seconds, 1e-9):.0f} albums/s)",
    ]
    if report.merged_spellings:
        lines.append(f"{report.merged_spellings} spellings of labels were replaced by more frequent ones")
    lines += [f"malformed: {one.place}: {one.reason}" for one in report.examples[:_EXAMPLES]]
    return lines + [f"all malformed records: {report.ledger}"] * (report.malformed > _EXAMPLES)


def label_import_lines(report: LabelImportReport) -> list[str]:
    """Summarise an import of labels."""
    lines = [f"{report.tracks:,} tracks with labels, {report.albums:,} albums"]
    for family, counts in report.labels.items():
        common = ", ".join(f"{label} {count}" for label, count in list(counts.items())[:8])
        lines.append(f"{family}: {len(counts)} labels: {common}{', …' * (len(counts) > 8)}")
    if report.values:
        lines.append(f"{report.values:,} labels have a value below 1; from 0.5 on, they count as present")
    if report.negatives:
        lines.append(f"known to have none of these labels, from rows of zeros: {report.negatives:,}")
    if report.skipped:
        lines.append(f"{len(report.skipped):,} left out, for example:")
    return lines + [f"  {one}" for one in report.skipped[:_EXAMPLES]]


def scan_lines(report: ScanReport) -> list[str]:
    """Summarise a scan."""
    lines = [
        f"found {report.found} files: {report.added} added, {report.changed} changed, {report.unchanged} unchanged;"
        f" {report.removed} removed, {len(report.problems)} unreadable",
    ]
    if report.sections:
        holds = "1 file holds" if report.divided == 1 else f"{report.divided} files hold"
        lines.append(f"{holds} {report.sections} tracks, according to CUE sheets or chapters")
    lines += [f"unreadable: {track_id}: {reason}" for track_id, reason in report.problems]
    return lines + [f"same audio: {', '.join(ids)}" for ids in report.duplicates]


def match_lines(report: MatchReport, review: Path) -> list[str]:
    """Summarise how many tracks were matched, and by which methods."""
    methods = ", ".join(f"{method} {count}" for method, count in report.by_method.items())
    lines = [
        f"{report.tracks} tracks: {report.matched} matched, {report.ambiguous} ambiguous, {report.unmatched} unmatched",
        f"{report.albums} albums with tracks" + f"; tracks matched by {methods}" * bool(methods),
    ]
    return lines + [f"{report.to_review} ambiguous local albums to review in {review}"] * bool(report.to_review)


def explanation_table(one: Explanation) -> Table:
    """Return the evidence for the best candidates for a local album, side by side."""
    table = Table(title=escape(visible(one.folder)), box=box.SIMPLE_HEAD)
    table.add_column("")
    table.add_column("local album")
    for candidate in one.candidates:
        table.add_column(f"{candidate.probability:.1%} {escape(visible(candidate.file_name))}")
    for name, value in one.facts.items():
        table.add_row(name, *(escape(visible(text)) for text in (value, *(one.facts[name] for one in one.candidates))))
    table.add_section()
    for number, (kind, _, _) in enumerate(one.candidates[0].evidence if one.candidates else ()):
        found = [candidate.evidence[number] for candidate in one.candidates]
        if any(says_something(kind, level) for _, level, _ in found):
            table.add_row(KINDS[kind], "", *(f"{weight:+.1f} {level}" for _, level, weight in found))
    return table


def label_lines(encoder: LabelEncoder, counts: pa.Table) -> list[str]:
    """Summarise how many labels were kept and dropped."""
    dropped = pc.sum(pc.invert(counts["kept"])).as_py()
    kept = " and ".join(encoder.describe().rsplit(", ", 1))
    return [f"kept {escape(visible(kept))}, dropped {dropped}"]


def label_table(counts: pa.Table, *, kept: bool, limit: int) -> Table:
    """Return the most frequent labels that were kept, or those that were dropped and the reasons."""
    table = Table(title="labels kept" if kept else "labels dropped", box=box.SIMPLE_HEAD)
    for name in ("label", "family", "albums", "artists", *([] if kept else ["reason"])):
        table.add_column(name, justify="right" if name in ("albums", "artists") else "left")
    for row in counts.filter(pc.equal(counts["kept"], kept)).slice(0, limit).to_pylist():
        cells = [escape(visible(row["label"])), row["family"], str(row["albums"]), str(row["artists"])]
        table.add_row(*cells, *([] if kept else [escape(visible(row["reason"]))]))
    return table


def rules_table(calibration: Calibration) -> Table:
    """Return the cross-validated F1 of each rule for thresholds."""
    table = Table(title="threshold rules, cross-validated on held-out tracks", box=box.SIMPLE_HEAD)
    for name in ("rule", "F1 macro", "F1 micro", ""):
        table.add_column(name, justify="right" if name.startswith("F1") else "left")
    for name, estimate in calibration.estimates.items():
        chosen = "chosen" if name == calibration.rule else ""
        table.add_row(name, f"{estimate.f1_macro:.3f}", f"{estimate.f1_micro:.3f}", chosen)
    return table


def split_lines(report: SplitReport) -> list[str]:
    """Summarise the sizes of the splits and how evenly the labels are spread."""
    lines = [
        f"{name:<6} {report.tracks[name]} tracks, {report.albums[name]} albums, {report.artists[name]} artists"
        for name in SPLITS
    ]
    lines.append(
        f"stratification: a label's share in a split deviates from the split's share of all tracks by "
        f"{report.mean_gap:.1%} on average, at most {report.worst_gap:.1%} ({report.worst_label} in "
        f"{report.worst_split})"
    )
    lines.append(f"the largest group of connected artists has {report.largest_group:.1%} of the tracks")
    if not any(report.artists.values()):
        lines.append(
            "WARNING: the artist of no track is known, so tracks of one artist or album can be in several splits and "
            "all figures will be too good. Add artist and album tags to the files, then run 'eno scan' and import again"
        )
    if report.kept or report.moved:
        new = sum(report.tracks.values()) - report.kept - report.moved
        moved = f", {report.moved} moved because their artists are connected now" if report.moved else ""
        lines.append(
            f"{report.kept} tracks stay where they were, {new} are new{moved} (--new splits all of them again)"
        )
    return lines + [f"{report.left_out} tracks are in no split"] * bool(report.left_out)
