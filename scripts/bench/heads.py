"""How long heads take to fit, and how good they are, on synthetic vectors: one run, one machine, the same cores.

LightGBM label by label on one binned `Dataset` against scikit-learn's ``OneVsRestClassifier(LGBMClassifier())`` at its
defaults; beside them the other heads. Labels are noisy half-spaces of the vectors, from common to rare.

Run it with nothing else on the machine: ``python scripts/bench/heads.py [--rows 20000] [--dim 512] [--labels 10]``.
"""

from __future__ import annotations

import argparse
import resource
import time
import warnings

import numpy as np
from lightgbm import LGBMClassifier
from sklearn.multiclass import OneVsRestClassifier

from eno.models import create_head
from eno.models.ranking import average_precisions


def problem(rows: int, dim: int, labels: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Vectors and labels."""
    directions = np.random.default_rng(0).standard_normal((dim, labels)) / np.sqrt(dim)
    random = np.random.default_rng(seed)
    X = random.standard_normal((rows, dim)).astype(np.float32)
    logits = 3 * X @ directions - np.linspace(0, 5, labels)
    return X, (random.random((rows, labels)) < 1 / (1 + np.exp(-logits))).astype(np.float32)


def main() -> None:
    """Print a row for each head."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--labels", type=int, default=10)
    chosen = parser.parse_args()
    warnings.filterwarnings("ignore", message="X does not have valid feature names")
    train, val, test = (
        problem(rows, chosen.dim, chosen.labels, seed)
        for seed, rows in enumerate((chosen.rows, chosen.rows // 4, chosen.rows // 4))
    )
    began = time.perf_counter()
    theirs = OneVsRestClassifier(LGBMClassifier(verbosity=-1)).fit(*train)
    baseline = time.perf_counter() - began
    quality = np.nanmean(average_precisions(test[1], theirs.predict_proba(test[0])))
    print(f"{chosen.rows} rows of {chosen.dim}, {chosen.labels} labels, positives {train[1].mean(axis=0).min():.1%} to "
          f"{train[1].mean(axis=0).max():.1%}")  # fmt: skip
    print(f"{'OneVsRestClassifier(LGBMClassifier())':<38} {baseline:7.1f} s, macro mAP {quality:.4f}", flush=True)
    for name in ("lightgbm", "linear", "mlp"):
        head = create_head(name)
        began = time.perf_counter()
        head.fit(*train, *val)
        seconds = time.perf_counter() - began
        quality = np.nanmean(average_precisions(test[1], head.predict_proba(test[0])))
        print(
            f"{name:<38} {seconds:7.1f} s, macro mAP {quality:.4f}, {baseline / seconds:.1f} times as fast", flush=True
        )
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
