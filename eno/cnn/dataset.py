"""Features and labels of the tracks of one split, as PyTorch takes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from scipy import sparse
from torch.utils.data import Dataset

from eno.cnn.augment import Augment, cut, random_crop
from eno.cnn.feature_files import MAKE_FEATURES, feature_path, read_failures, read_settings
from eno.data.labels.encoder import LabelEncoder
from eno.data.layout import DataRoot
from eno.data.lute.albums import LABEL_COLUMNS
from eno.data.splits.artist_split import read_split
from eno.errors import CatalogueError, ConfigError, LabelError


class EnoDataset(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Tracks of a split: their log-mel spectrograms and the labels of their albums.

    Parameters
    ----------
    split : {"train", "val", "test"}
        Which tracks. Those of ``"train"`` have soft labels, where the vocabulary weighs secondary genres less; the
        others have the truth, 0 or 1.
    data_root : Path or str
        Folder of ``raw/`` and ``processed/``; ``scripts/prepare_data.py`` must have made the features.
    label_encoder : LabelEncoder
        The vocabulary.
    crop_frames : int, optional
        Give a random crop of so many frames, drawn anew in every epoch, instead of the whole track. Only the crop
        is read. A shorter track repeats itself.
    windows : int, optional
        Give so many crops, spread evenly from the start of the track to its end, instead of one at random: for
        evaluation, since then tracks of any length make batches, and none depends on the others in its batch.
    augment : Augment, optional
        What crops go through.
    seed : int
        Seed of crops and augmentations. They depend on it, the epoch and the track alone, so neither on the number
        of workers nor on the order.

    Attributes
    ----------
    ids : list of str
        Tracks, in the order of the indices.
    labels : scipy.sparse.csr_array [shape=(n, num_labels), dtype=float32]
        What they are trained on or judged by.
    skipped : int
        Tracks of the split that are left out, because their features could not be made.
    n_mels, sample_rate : int
        What the features were made with.

    Raises
    ------
    CatalogueError
        The split or the features are missing or damaged, or no track is left.
    ConfigError
        The options do not go together.

    Examples
    --------
    >>> train = EnoDataset("train", "data", LabelEncoder.load("labels.json"), crop_frames=157)  # doctest: +SKIP
    >>> features, labels = train[0]  # doctest: +SKIP
    >>> features.shape  # doctest: +SKIP
    torch.Size([1, 128, 157])
    """

    def __init__(
        self,
        split: str,
        data_root: Path | str,
        label_encoder: LabelEncoder,
        *,
        crop_frames: int | None = None,
        windows: int | None = None,
        augment: Augment | None = None,
        seed: int = 0,
    ) -> None:
        lengths = [value for value in (crop_frames, windows) if value is not None]
        if min(lengths, default=1) < 1 or (windows and (crop_frames is None or augment)):
            raise ConfigError(
                f"crop_frames={crop_frames}, windows={windows}, augment={augment}: windows need a length, crop_frames, "
                "both are at least 1, and only random crops are augmented."
            )
        self._root = DataRoot(Path(data_root))
        self.crop_frames, self.windows, self.augment, self.seed = crop_frames, windows, augment, seed
        settings = read_settings(self._root)
        self.n_mels, self.sample_rate = settings["n_mels"], settings["sample_rate"]
        rows = read_split(self._root.splits, split)
        failed = pa.array([failure.track_id for failure in read_failures(self._root)], pa.string())
        readable = rows.filter(pc.invert(pc.is_in(rows["track_id"], value_set=failed)))
        self.skipped = len(rows) - len(readable)
        self.ids: list[str] = readable["track_id"].to_pylist()
        if not self.ids:
            raise LabelError(f"{self._root.splits / split}.parquet: holds no tracks that have features.")
        self._check_features()
        self.labels: sparse.csr_array = label_encoder.encode_many(*(readable[name] for name in LABEL_COLUMNS))
        if split != "train":
            self.labels.data[:] = self.labels.data > 0
        # Shared, so that worker processes which are already there see it too.
        self._epoch = torch.zeros((), dtype=torch.int64)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]

    def _check_features(self) -> None:
        missing = [track_id for track_id in self.ids if not feature_path(self._root, track_id).is_file()]
        if missing:
            raise CatalogueError(
                f"{self._root.features}: lacks the features of {len(missing)} of {len(self.ids)} tracks, for instance "
                f"{missing[0]}. {MAKE_FEATURES}"
            )

    def set_epoch(self, epoch: int) -> None:
        """Draw other crops and augmentations from now on: those of this epoch."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Read one track.

        Returns
        -------
        features : torch.Tensor [shape=(1, n_mels, frames) or (windows, 1, n_mels, crop_frames), dtype=float32]
            The second shape if `windows` was given.
        labels : torch.Tensor [shape=(num_labels,), dtype=float32]

        Raises
        ------
        CatalogueError
            The file of the features is damaged.
        """
        stored = self._open(self.ids[index])
        labels = torch.from_numpy(self.labels[[index]].toarray()[0])
        if self.crop_frames is None or self.windows is None:
            return torch.from_numpy(self._draw(stored, index)), labels
        starts = _even_starts(stored.shape[-1], self.crop_frames, self.windows)
        return torch.from_numpy(np.stack([cut(stored, start, self.crop_frames) for start in starts])), labels

    def _open(self, track_id: str) -> np.ndarray:
        """Map the features of a track into memory [shape=(1, n_mels, frames)]."""
        path = feature_path(self._root, track_id)
        try:
            stored: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise CatalogueError(f"{path}: cannot be read ({error}). Remove it. {MAKE_FEATURES}") from error
        if stored.dtype != np.float32 or stored.ndim != 3 or stored.shape[:2] != (1, self.n_mels) or not stored.size:
            raise CatalogueError(
                f"{path}: holds {stored.dtype} of the shape {stored.shape}, expected float32 of (1, {self.n_mels}, "
                f"frames). Remove it. {MAKE_FEATURES}"
            )
        return stored

    def _draw(self, stored: np.ndarray, index: int) -> np.ndarray:
        """Give a random crop, or the whole track, augmented."""
        rng = np.random.default_rng([self.seed, int(self._epoch), index])
        needed = self.crop_frames
        if needed is not None and self.augment:
            needed = self.augment.frames_needed(needed)
        features = np.array(stored) if needed is None else random_crop(stored, needed, rng)
        if self.augment:
            features = self.augment(features, rng, sample_rate=self.sample_rate, frames=self.crop_frames)
        return np.ascontiguousarray(features, np.float32)


def _even_starts(frames: int, crop_frames: int, windows: int) -> list[int]:
    """Where windows begin, as `eno.audio.windows.WindowPolicy` places them; of a short track they may coincide."""
    last = max(0, frames - crop_frames)
    places = np.linspace(0, last, windows) if windows > 1 else np.array([last / 2])
    starts: list[int] = np.round(places).astype(int).tolist()
    return starts
