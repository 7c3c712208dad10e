"""Where each file of a collection lies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class DataRoot:
    """The files below one ``data_root``; DATA.md says what is in them.

    Attributes
    ----------
    root : Path
        The folder itself.
    """

    root: Path

    @property
    def audio(self) -> Path:
        """The audio files; eno never changes them."""
        return self.root / "raw" / "audio"

    @property
    def albums(self) -> Path:
        """Albums, as ``eno import`` writes them."""
        return self.root / "raw" / "metadata" / "albums.parquet"

    @property
    def tracks(self) -> Path:
        """Audio files and their tags, as ``eno scan`` writes them."""
        return self.root / "processed" / "tracks.parquet"

    @property
    def matches(self) -> Path:
        """Which track is of which album, as ``eno match`` writes it."""
        return self.root / "processed" / "matches.parquet"

    @property
    def match_review(self) -> Path:
        """What ``eno match`` could not decide; for the user to fill in."""
        return self.root / "processed" / "match_review.csv"

    @property
    def label_encoder(self) -> Path:
        """The vocabulary, as ``eno labels`` writes it."""
        return self.root / "processed" / "label_encoder.json"

    @property
    def label_counts(self) -> Path:
        """Every label, how often it occurs, and why it was kept or dropped."""
        return self.root / "processed" / "labels.parquet"

    @property
    def splits(self) -> Path:
        """The folder of ``train.parquet``, ``val.parquet`` and ``test.parquet``."""
        return self.root / "processed" / "splits"

    @property
    def features(self) -> Path:
        """The folder of log-mel spectrograms, as ``scripts/prepare_data.py`` writes them."""
        return self.root / "processed" / "features"

    @property
    def feedback(self) -> Path:
        """Corrections of tags, as they are made on the page of ``eno serve``."""
        return self.root / "processed" / "feedback.jsonl"

    @property
    def exploration(self) -> Path:
        """The report of ``eno explore``."""
        return self.root / "processed" / "exploration.html"
