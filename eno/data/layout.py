"""Paths of the files of a collection."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class DataRoot:
    """The files below a ``data_root``, which DATA.md describes."""

    root: Path

    @property
    def audio(self) -> Path:
        """The default audio folder; eno never writes to it."""
        return self.root / "raw" / "audio"

    @property
    def albums(self) -> Path:
        """Albums, written by ``eno import``."""
        return self.root / "raw" / "metadata" / "albums.parquet"

    @property
    def tracks(self) -> Path:
        """Audio files and their tags, written by ``eno scan``."""
        return self.root / "processed" / "tracks.parquet"

    @property
    def matches(self) -> Path:
        """The album of each track, written by ``eno match``."""
        return self.root / "processed" / "matches.parquet"

    @property
    def match_review(self) -> Path:
        """Ambiguous matches, for the user to decide."""
        return self.root / "processed" / "match_review.csv"

    @property
    def label_encoder(self) -> Path:
        """The vocabulary, written by ``eno labels``."""
        return self.root / "processed" / "label_encoder.json"

    @property
    def label_counts(self) -> Path:
        """All labels, their frequencies, and whether they were kept."""
        return self.root / "processed" / "labels.parquet"

    @property
    def splits(self) -> Path:
        """The folder of ``train.parquet``, ``val.parquet`` and ``test.parquet``."""
        return self.root / "processed" / "splits"

    @property
    def features(self) -> Path:
        """The folder of log-mel spectrograms, written by ``scripts/prepare_data.py``."""
        return self.root / "processed" / "features"

    @property
    def feedback(self) -> Path:
        """Corrections of tags, collected by ``eno serve``."""
        return self.root / "processed" / "feedback.jsonl"

    @property
    def exploration(self) -> Path:
        """The report of ``eno explore``."""
        return self.root / "processed" / "exploration.html"
