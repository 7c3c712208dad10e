"""What the steps of the catalogue did, in lines and tables that people read."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from rich import box
from rich.markup import escape
from rich.table import Table

from eno.data.labels.encoder import LabelEncoder
from eno.data.library.scanning import ScanReport
from eno.data.lute.importing import ImportReport
from eno.data.matching.matcher import MatchReport
from eno.data.splits.artist_split import SplitReport
from eno.data.splits.stratify import SPLITS
from eno.models.calibration.calibrate import Calibration

_EXAMPLES = 5


def import_lines(report: ImportReport) -> list[str]:
    """Say how an import went."""
    lines = [
        f"read {report.read} = albums {report.albums} + malformed {report.malformed} + repeated {report.repeated}"
        f" + duplicates {report.duplicates}, {report.albums / max(report.seconds, 1e-9):.0f} albums a second",
    ]
    if report.merged_spellings:
        lines.append(f"{report.merged_spellings} spellings of labels gave way to more frequent ones")
    lines += [f"malformed: {one.place}: {one.reason}" for one in report.examples[:_EXAMPLES]]
    return lines + [f"all of them: {report.ledger}"] * (report.malformed > _EXAMPLES)


def scan_lines(report: ScanReport) -> list[str]:
    """Say what a scan found."""
    lines = [
        f"found {report.found} = added {report.added} + changed {report.changed} + unchanged {report.unchanged}"
        f", removed {report.removed}, unreadable {len(report.problems)}",
    ]
    lines += [f"unreadable: {track_id}: {reason}" for track_id, reason in report.problems]
    return lines + [f"same audio: {', '.join(ids)}" for ids in report.duplicates]


def match_lines(report: MatchReport, review: Path) -> list[str]:
    """Say how many tracks found an album, and how."""
    ways = ", ".join(f"{count} by {method}" for method, count in report.by_method.items())
    lines = [
        f"tracks {report.tracks} = matched {report.matched} + ambiguous {report.ambiguous}"
        f" + unmatched {report.unmatched}",
        f"{report.albums} albums have tracks" + f"; tracks: {ways}" * bool(ways),
    ]
    return lines + [f"{report.to_review} local albums are for you to decide in {review}"] * bool(report.to_review)


def label_lines(encoder: LabelEncoder, counts: pa.Table) -> list[str]:
    """Say how many labels were kept and dropped."""
    dropped = pc.sum(pc.invert(counts["kept"])).as_py()
    return [f"kept {encoder.num_genres} genres and {encoder.num_descriptors} descriptors, dropped {dropped} names"]


def label_table(counts: pa.Table, *, kept: bool, limit: int) -> Table:
    """Show the most frequent labels that were kept, or those that were dropped, and why."""
    table = Table(title="labels kept" if kept else "labels dropped", box=box.SIMPLE_HEAD)
    for name in ("label", "family", "albums", "artists", *([] if kept else ["why"])):
        table.add_column(name, justify="right" if name in ("albums", "artists") else "left")
    for row in counts.filter(pc.equal(counts["kept"], kept)).slice(0, limit).to_pylist():
        cells = [escape(row["label"]), row["family"], str(row["albums"]), str(row["artists"])]
        table.add_row(*cells, *([] if kept else [escape(row["reason"])]))
    return table


def rules_table(calibration: Calibration) -> Table:
    """Show what each rule for thresholds would reach on validation tracks that it was not learned from."""
    table = Table(title="thresholds, by folds of the validation part", box=box.SIMPLE_HEAD)
    for name in ("rule", "F1 macro", "F1 micro", ""):
        table.add_column(name, justify="right" if name.startswith("F1") else "left")
    for name, estimate in calibration.estimates.items():
        chosen = "chosen" if name == calibration.rule else ""
        table.add_row(name, f"{estimate.f1_macro:.3f}", f"{estimate.f1_micro:.3f}", chosen)
    return table


def split_lines(report: SplitReport) -> list[str]:
    """Say how the tracks were divided, and where labels are divided worst."""
    lines = [
        f"{name:<6} {report.tracks[name]} tracks, {report.albums[name]} albums, {report.artists[name]} artists"
        for name in SPLITS
    ]
    lines.append(
        f"a label's share of a part differs from that of all tracks by {report.mean_gap:.1%} on average, at worst by "
        f"{report.worst_gap:.1%} ({report.worst_label} in {report.worst_split})"
    )
    lines.append(f"the largest group of artists that had to stay together holds {report.largest_group:.1%}")
    return lines + [f"{report.left_out} tracks are in no part"] * bool(report.left_out)
