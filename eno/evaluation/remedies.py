"""Settings that may help against common issues, by head."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Remedies:
    """What to change in one kind of model; empty where it has no setting for that.

    A model that `memorises` can rank its own training tracks almost perfectly, however well it ranks others.
    """

    under_fitting: str = ""
    over_fitting: str = ""
    rare_labels: str = ""
    constant: str = ""
    memorises: bool = False


REMEDIES = {
    "mlp": Remedies(
        "a larger head or longer training (--set mlp.hidden=[1024,1024], --set mlp.max_epochs=200), less "
        "regularisation (--set mlp.dropout=0)",
        "more regularisation (--set mlp.dropout=0.7, --set mlp.weight_decay=0.1, --set mlp.mixup=0.2), a smaller head "
        "(--head linear)",
        "class weights (--set mlp.class_weights=balanced), another loss (--set mlp.loss=focal)",
        "another seed or a lower learning rate (--set mlp.learning_rate=0.0003)",
    ),
    "linear": Remedies("a head that is not linear (--head kernel, --head mlp)"),
    "lightgbm": Remedies(
        "more or larger trees (--set lightgbm.rounds=500, --set lightgbm.num_leaves=31)",
        "smaller trees (--set lightgbm.num_leaves=4, --set lightgbm.min_data_in_leaf=50), a smaller head "
        "(--head linear)",
    ),
    "forest": Remedies(memorises=True),
    "knn": Remedies(memorises=True),
    "kernel": Remedies(
        "more landmarks or a narrower kernel (--set kernel.landmarks=3000, --set kernel.gamma=3)",
        "a wider kernel (--set kernel.gamma=0.3), a smaller head (--head linear)",
    ),
    "blend": Remedies(memorises=True),
    "auto": Remedies(memorises=True),
    "simple_cnn": Remedies(
        "longer training (scripts/train.py --epochs=200)",
        "augmentation (scripts/train.py --spec_augment --mixup=0.2)",
        "class weights (scripts/train.py --class_weights=balanced), another loss (scripts/train.py --loss=focal)",
        "another seed or a lower learning rate (scripts/train.py --learning_rate=0.0003)",
    ),
}
"""Remedies by name of the head; "simple_cnn" is the CNN baseline."""
