"""A trained CNN as a predictor like any other: calibrated, with a record of how it came about."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eno.audio.windows import WindowPolicy
from eno.cnn.dataset import EnoDataset
from eno.cnn.encoder import SimpleCNNTagger
from eno.cnn.settings import CNNSettings
from eno.cnn.training import LABELS, MODEL, CNNResult, predict_split
from eno.data.labels.encoder import LabelEncoder
from eno.data.layout import DataRoot
from eno.data.splits.artist_split import GROUP, read_split
from eno.data.splits.stratify import SPLITS
from eno.inference.predictor_folder import PredictorParts
from eno.models import IdentityHead
from eno.models.ranking import macro_map
from eno.training.heads import calibrate
from eno.training.record import HeadPlan, TrainingRecord

CNN = "simple_cnn"
"""What stands for a head in the record of a CNN."""


def save_cnn_predictor(
    result: CNNResult, data_root: Path, plan: HeadPlan | None = None, *, policy: WindowPolicy | None = None
) -> tuple[PredictorParts, TrainingRecord]:
    """Calibrate a trained CNN on the validation part and make its folder a predictor's.

    Parameters
    ----------
    result : CNNResult
        What `eno.cnn.training.train_cnn` gave.
    data_root : Path
        As there.
    plan : HeadPlan, optional
        Its ``calibration`` and ``album`` count.
    policy : WindowPolicy, optional
        Which windows of a file are listened to.

    Returns
    -------
    parts : PredictorParts
        What was written. Its head passes vectors on: the network is the encoder, and its vectors are the probabilities.
    record : TrainingRecord
        How it came about.

    Raises
    ------
    CatalogueError
        The split or the features are missing or damaged.
    """
    policy = policy or WindowPolicy()
    plan = HeadPlan(
        CNN, asdict(result.settings), plan.calibration if plan else {}, plan.album if plan else "mean_logit"
    )
    splits, labels = DataRoot(data_root).splits, LabelEncoder.load(result.label_encoder)
    ids, probabilities, truth = predict_split(result, data_root, SPLITS[1], windows=policy.count)
    albums, groups = albums_and_groups(splits, SPLITS[1], ids)
    calibration, of_albums = calibrate(probabilities, truth, albums, groups, plan)
    spec = SimpleCNNTagger(model=str(result.model), device=result.settings.device).spec
    parts = PredictorParts(
        spec=spec,
        labels=labels,
        head=IdentityHead(),
        policy=policy,
        calibration=calibration,
        album_calibration=of_albums,
        album=plan.album,
    )
    parts.save(result.model.parent)
    train = EnoDataset(SPLITS[0], data_root, labels)
    record = TrainingRecord.of(
        plan,
        store="",
        splits=splits,
        encoder=spec.label,
        train_positives=np.bincount(train.labels.indices, minlength=len(labels)),
        seconds=result.seconds,
        map_macro=macro_map(truth, probabilities),
        calibration=calibration,
    )
    record.save(result.model.parent)
    return parts, record


def read_cnn(folder: Path, record: TrainingRecord, device: str) -> CNNResult:
    """Give what `eno.cnn.training.train_cnn` gave when the predictor in a folder was made, to predict with it."""
    settings = replace(CNNSettings(**record.options), device=device)
    return CNNResult(folder / MODEL, folder / LABELS, settings, [], 0, record.seconds)


def albums_and_groups(splits: Path, part: str, ids: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Give the album and the group of artists of some tracks of a split."""
    rows = read_split(splits, part)
    rows = rows.take(pc.index_in(pa.array(ids, pa.string()), value_set=rows["track_id"].combine_chunks()))
    return rows["file_name"].to_numpy(), rows[GROUP.name].to_numpy()
