"""A trained CNN as a calibrated predictor, and as a candidate of a comparison."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from torch.utils.data import DataLoader, Subset

from eno.audio.windows import WindowPolicy
from eno.cnn.dataset import EnoDataset
from eno.cnn.encoder import SimpleCNNTagger, load_simple_cnn
from eno.cnn.features import frames_in
from eno.cnn.settings import CNNSettings
from eno.cnn.training import CNNResult, train_cnn
from eno.data.labels.encoder import LabelEncoder
from eno.data.layout import DataRoot
from eno.data.splits.stratify import SPLITS
from eno.devices import resolve_device
from eno.inference.predictor_folder import PredictorParts
from eno.models import IdentityHead
from eno.training.collection import SplitPredictions, sample_rows
from eno.training.compare import TrainedCandidate
from eno.training.heads import TrainedHead, calibrate
from eno.training.record import HeadPlan
from eno.training.trainer import predict

CNN = "simple_cnn"
"""Name of the CNN in training records, in place of a head's."""

_WINDOWS_AT_ONCE = 64


@dataclass(frozen=True)
class FeatureCollection:
    """The features of a data root, for predictions without decoding audio.

    A `eno.training.collection.PredictionSource` for predictors that `save_cnn_predictor` made.

    Attributes
    ----------
    data_root : Path or str
        Folder of ``raw/`` and ``processed/``, with features made by ``scripts/prepare_data.py``.
    num_workers : int
        Worker processes that read features.
    """

    data_root: Path | str
    device: str = "auto"
    num_workers: int = 0

    def predict(self, parts: PredictorParts, split: str, *, limit: int | None = None) -> SplitPredictions:
        """Predict the tracks of a split as the predictor would from their files; the mean over windows counts."""
        options, windows = parts.spec.options, parts.policy.count
        crop_frames = frames_in(round(options["window_s"] * options["sample_rate"]))
        dataset = EnoDataset(split, self.data_root, parts.labels, crop_frames=crop_frames, windows=windows)
        rows = sample_rows(len(dataset), limit)
        device = resolve_device(self.device)
        model = load_simple_cnn(parts.spec.location["model"], n_mels=options["n_mels"]).to(device)
        loader = DataLoader(
            Subset(dataset, rows.tolist()),
            batch_size=max(1, _WINDOWS_AT_ONCE // windows),
            num_workers=self.num_workers,
            multiprocessing_context="spawn" if self.num_workers else None,
        )
        truth = (dataset.labels[rows].toarray() > 0).astype(np.float32)
        ids = [dataset.ids[row] for row in rows]
        return SplitPredictions(ids, predict(model, loader, device), truth, dataset.albums[rows], dataset.groups[rows])


@dataclass(frozen=True)
class CNNCandidate:
    """The CNN baseline in a comparison; see `eno.training.compare.Candidate`.

    Attributes
    ----------
    data_root : Path
        With features made by ``scripts/prepare_data.py``.
    plan : HeadPlan
        Only its ``calibration`` and ``album`` are used.
    """

    data_root: Path
    labels: LabelEncoder
    settings: CNNSettings
    plan: HeadPlan

    encoder = "CNN"
    head = "from scratch"
    folder_name = "cnn"

    @property
    def splits(self) -> Path:
        """Folder of the splits."""
        return DataRoot(self.data_root).splits

    def train(self, folder: Path, device: str) -> TrainedCandidate:
        """See `eno.training.compare.Candidate.train`."""
        settings = replace(self.settings, device=device)
        result = train_cnn(self.data_root, self.labels, folder, settings)
        trained = save_cnn_predictor(result, self.data_root, self.plan)
        source = FeatureCollection(self.data_root, device, settings.num_workers)
        return TrainedCandidate(trained.parts, trained.record, source.predict(trained.parts, SPLITS[-1]), dim=0)


def save_cnn_predictor(
    result: CNNResult, data_root: Path, plan: HeadPlan | None = None, *, policy: WindowPolicy | None = None
) -> TrainedHead:
    """Calibrate a trained CNN on the validation split, and add the files of a predictor to its folder.

    Parameters
    ----------
    plan : HeadPlan, optional
        Only its ``calibration`` and ``album`` are used.
    policy : WindowPolicy, optional
        Windows of a file.

    Returns
    -------
    TrainedHead
        The encoder is the network, its vectors are probabilities, and the head returns them unchanged.
    """
    settings = result.settings
    plan = replace(plan or HeadPlan(CNN), head=CNN, options=asdict(settings))
    labels = LabelEncoder.load(result.label_encoder)
    parts = PredictorParts(
        spec=SimpleCNNTagger(model=str(result.model), device=settings.device).spec,
        labels=labels,
        head=IdentityHead(),
        policy=policy or WindowPolicy(),
        album=plan.album,
    )
    trained = calibrate(
        parts,
        plan,
        FeatureCollection(data_root, settings.device, settings.num_workers).predict(parts, SPLITS[1]),
        store="",
        splits=DataRoot(data_root).splits,
        train_labels=EnoDataset(SPLITS[0], data_root, labels).labels,
        began=time.monotonic() - result.seconds,
    )
    trained.save(result.model.parent)
    return trained
