"""Paths of the files of a collection."""

from __future__ import annotations

from pathlib import Path


class DataRoot:
    """The files below a ``data_root``, which DATA.md describes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.audio = root / "raw" / "audio"
        """The default audio folder; eno never writes to it."""
        self.albums = root / "raw" / "metadata" / "albums.parquet"
        """Albums, written by ``eno import``."""
        self.track_labels = root / "raw" / "metadata" / "track_labels.parquet"
        """Labels of single tracks, written by ``eno import`` for labels that belong to files."""
        self.published_splits = root / "raw" / "metadata" / "splits"
        """A folder for each imported data set that comes with splits."""
        processed = root / "processed"
        self.tracks = processed / "tracks.parquet"
        """Audio files and their tags, written by ``eno scan``."""
        self.matches = processed / "matches.parquet"
        """The album of each track, written by ``eno match``."""
        self.match_review = processed / "match_review.csv"
        """Ambiguous matches, for the user to decide."""
        self.label_encoder = processed / "label_encoder.json"
        """The vocabulary, written by ``eno labels``."""
        self.label_counts = processed / "labels.parquet"
        """All labels, their frequencies, and whether they were kept."""
        self.splits = processed / "splits"
        """The folder of ``train.parquet``, ``val.parquet`` and ``test.parquet``."""
        self.features = processed / "features"
        """The folder of log-mel spectrograms, written by ``scripts/prepare_data.py``."""
        self.feedback = processed / "feedback.jsonl"
        """Corrections of tags, collected by ``eno serve``."""
        self.written_tags = processed / "written_tags.jsonl"
        """The tags that ``eno write-tags`` wrote to the files, which are no labels of the user."""
        self.exploration = processed / "exploration.html"
        """The report of ``eno explore``."""
