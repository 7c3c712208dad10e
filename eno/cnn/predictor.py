"""A trained CNN as a calibrated predictor, and as a candidate in a comparison."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

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
from eno.models.average_precision import macro_map
from eno.training.collection import SplitPredictions, binary, sample_rows
from eno.training.compare import Candidate
from eno.training.heads import TrainedPredictor, calibrate_predictor
from eno.training.record import HeadPlan
from eno.training.trainer import predict

CNN = "simple_cnn"
"""Name of the CNN in training records, in place of the name of a head."""

_WINDOWS_AT_ONCE = 64


@dataclass(frozen=True)
class FeatureCollection:
    """The precomputed features of a data root: the `eno.training.collection.PredictionSource` of a CNN predictor."""

    data_root: Path | str
    device: str = "auto"
    num_workers: int = 0

    def predict(self, parts: PredictorParts, split: str, *, limit: int | None = None) -> SplitPredictions:
        """Return the mean probability over windows, as if predicted from audio; see `PredictionSource.predict`."""
        (spec,), (policy,) = parts.specs, parts.policies
        options, windows = spec.options, policy.count
        crop_frames = frames_in(round(options["window_s"] * options["sample_rate"]))
        dataset = EnoDataset(split, self.data_root, parts.labels, crop_frames=crop_frames, windows=windows)
        rows = sample_rows(len(dataset), limit)
        device = resolve_device(self.device)
        model = load_simple_cnn(spec.location["model"], n_mels=options["n_mels"]).to(device)
        loader = DataLoader(
            Subset(dataset, rows.tolist()),
            batch_size=max(1, _WINDOWS_AT_ONCE // windows),
            num_workers=self.num_workers,
            multiprocessing_context="spawn" if self.num_workers else None,
        )
        ids = [dataset.ids[row] for row in rows]
        probabilities, truth = predict(model, loader, device), binary(dataset.labels[rows])
        known = dataset.weights[rows].known()
        return SplitPredictions(ids, probabilities, truth, known, dataset.albums[rows], dataset.groups[rows])


def cnn_candidate(data_root: Path, labels: LabelEncoder, settings: CNNSettings, plan: HeadPlan) -> Candidate:
    """Return the CNN baseline as a candidate. Only ``calibration`` and ``album`` of the plan are used."""

    def train(folder: Path, device: str) -> tuple[TrainedPredictor, SplitPredictions]:
        result = train_cnn(data_root, labels, folder, replace(settings, device=device))
        trained = save_cnn_predictor(result, data_root, plan)
        source = FeatureCollection(data_root, device, settings.num_workers)
        return trained, source.predict(trained.parts, SPLITS[-1])

    data = DataRoot(data_root)
    return Candidate("CNN", "from scratch", "cnn", data.splits, labels, train, data=data)


def save_cnn_predictor(result: CNNResult, data_root: Path, plan: HeadPlan | None = None) -> TrainedPredictor:
    """Calibrate a trained CNN on the validation split, and add the files of a predictor to its folder.

    Only ``calibration`` and ``album`` of the plan are used. The encoder is the network, its embeddings are
    probabilities, and the head returns them unchanged.
    """
    settings = result.settings
    plan = replace(plan or HeadPlan(CNN), head=CNN, options=asdict(settings), validation="fixed")
    labels = LabelEncoder.load(result.label_encoder)
    parts = PredictorParts(
        specs=(SimpleCNNTagger(model=str(result.model), device=settings.device).spec,),
        labels=labels,
        head=IdentityHead(),
        policies=(WindowPolicy(),),
        album=plan.album,
    )
    held_out = FeatureCollection(data_root, settings.device, settings.num_workers).predict(parts, SPLITS[1])
    trained = calibrate_predictor(
        parts,
        plan,
        held_out,
        macro_map(held_out.truth, held_out.probabilities, held_out.known),
        stores=[""],
        splits=DataRoot(data_root).splits,
        train_labels=EnoDataset(SPLITS[0], data_root, labels).labels,
        began=time.monotonic() - result.seconds,
    )
    trained.save(result.model.parent)
    return trained
