"""PyTorch dataset of the features and labels of a split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from scipy import sparse
from torch.utils.data import Dataset

from eno.audio.windows import even_starts
from eno.cnn.augment import Augment, cut, random_crop
from eno.cnn.feature_files import MAKE_FEATURES, feature_path, read_failures, read_settings
from eno.data.labels.encoder import LabelEncoder
from eno.data.labels.values import present
from eno.data.layout import DataRoot
from eno.data.splits.artist_split import GROUP
from eno.data.splits.labelled import read_labelled
from eno.errors import CatalogueError, ConfigError, LabelError
from eno.training.collection import encode_labels, label_weights, without_tracks


class EnoDataset(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Log-mel spectrograms of the tracks of a split, with the labels of their albums.

    An item is a pair of features [shape=(1, n_mels, frames), dtype=float32] and labels [shape=(num_labels,),
    dtype=float32]. With `windows`, features have the shape (windows, 1, n_mels, crop_frames).

    Parameters
    ----------
    split : {"train", "val", "test"}
        Labels are 0 or 1, except that in ``"train"`` secondary genres have the weight set in the vocabulary.
    data_root : Path or str
        Folder of ``raw/`` and ``processed/``, with features computed by ``scripts/prepare_data.py``.
    crop_frames : int, optional
        Return random crops of this length, different in every epoch, instead of whole tracks. Shorter tracks are
        repeated.
    windows : int, optional
        For evaluation: return this many crops, spread evenly over the track, instead of a random one.
    augment : Augment, optional
        Applied to random crops.
    seed : int
        Crops and augmentation depend only on the seed, the epoch and the track, not on worker processes or order.
    mark_unknown : bool
        Whether labels of weight 0 are NaN, which `eno.models.losses.MultiLabelLoss` leaves out.

    Attributes
    ----------
    albums, groups : np.ndarray [shape=(n,), dtype=object]
        Album and artist group of each track.
    labels : scipy.sparse.csr_array [shape=(n, num_labels), dtype=float32]
    weights : LabelWeights
        See `eno.training.collection.LabelledTracks`.
    skipped : int
        Number of tracks in the split whose features could not be computed.

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
        mark_unknown: bool = False,
    ) -> None:
        lengths = [value for value in (crop_frames, windows) if value is not None]
        if min(lengths, default=1) < 1 or (windows and (crop_frames is None or augment)):
            raise ConfigError(
                f"crop_frames={crop_frames}, windows={windows}, augment={augment}: windows need crop_frames, both must "
                "be at least 1, and only random crops can be augmented."
            )
        self._root = DataRoot(Path(data_root))
        self.crop_frames, self.windows, self.augment, self.seed = crop_frames, windows, augment, seed
        settings = read_settings(self._root)
        self.n_mels, self.sample_rate = settings["n_mels"], settings["sample_rate"]
        rows = read_labelled(self._root.splits, [split], self._root)
        readable = without_tracks(rows, [failure.track_id for failure in read_failures(self._root)])
        self.skipped = len(rows) - len(readable)
        self.ids: list[str] = readable["track_id"].to_pylist()
        self.albums, self.groups = readable["file_name"].to_numpy(), readable[GROUP.name].to_numpy()
        if not self.ids:
            raise LabelError(f"{self._root.splits / split}.parquet: none of its tracks has features.")
        missing = [track_id for track_id in self.ids if not feature_path(self._root, track_id).is_file()]
        if missing:
            raise CatalogueError(
                f"{self._root.features}: features of {len(missing)} of {len(self.ids)} tracks are missing, for "
                f"instance {missing[0]}. {MAKE_FEATURES}"
            )
        self.labels: sparse.csr_array = encode_labels(readable, label_encoder)
        self.weights, self.mark_unknown = label_weights(readable, label_encoder), mark_unknown
        if split != "train":
            self.labels.data[:] = present(self.labels.data)
        # In shared memory, so that running worker processes see changes.
        self._epoch = torch.zeros((), dtype=torch.int64)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, which seeds the crops and the augmentation."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        stored = self._open(self.ids[index])
        labels = torch.from_numpy(self.labels[[index]].toarray()[0])
        if self.mark_unknown:
            labels[torch.from_numpy(self.weights[index : index + 1].dense()[0] == 0)] = torch.nan
        if self.crop_frames is None or self.windows is None:
            return torch.from_numpy(self._random_crop(stored, index)), labels
        starts = even_starts(stored.shape[-1], self.crop_frames, self.windows)
        return torch.from_numpy(np.stack([cut(stored, start, self.crop_frames) for start in starts])), labels

    def _open(self, track_id: str) -> np.ndarray:
        """Memory-map the features of a track [shape=(1, n_mels, frames)]."""
        path = feature_path(self._root, track_id)
        try:
            stored: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise CatalogueError(f"{path}: cannot be read ({error}). Remove it. {MAKE_FEATURES}") from error
        if stored.dtype != np.float32 or stored.ndim != 3 or stored.shape[:2] != (1, self.n_mels) or not stored.size:
            raise CatalogueError(
                f"{path}: found {stored.dtype} of shape {stored.shape}; expected float32 of shape (1, {self.n_mels}, "
                f"frames). Remove it. {MAKE_FEATURES}"
            )
        return stored

    def _random_crop(self, stored: np.ndarray, index: int) -> np.ndarray:
        """Return an augmented random crop, or the whole track without `crop_frames`."""
        rng = np.random.default_rng([self.seed, int(self._epoch), index])
        needed = self.crop_frames
        if needed is not None and self.augment:
            needed = self.augment.frames_needed(needed)
        features = np.array(stored) if needed is None else random_crop(stored, needed, rng)
        if self.augment:
            features = self.augment(features, rng, sample_rate=self.sample_rate, frames=self.crop_frames)
        return np.ascontiguousarray(features, np.float32)
