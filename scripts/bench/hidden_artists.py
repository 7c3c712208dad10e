"""How well heads choose their options where nobody has named the artists.

The training rows of a problem that `tags.py --folder` has kept are divided into four parts by artist. Each part is
predicted by heads that are fitted on the others: with the artists as groups, with every row as a group of its own, and
without groups, so that rows with similar vectors are one. Test rows are not touched.

    python -m scripts.bench.tags --store STORE --data-root ROOT --folder FOLDER --heads linear
    python -m scripts.bench.hidden_artists FOLDER/STORE/STORE --heads linear knn kernel
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from eno.data.splits.stratify import folds_by_group
from eno.models import create_head
from eno.models.average_precision import validation_score
from scripts.bench.tagging.problems import Problem

_PARTS = 4


def main() -> None:
    """Print macro mAP and log-loss of each head, as means over the parts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("problem", type=Path)
    parser.add_argument("--heads", nargs="+", default=["linear", "knn", "kernel"])
    chosen = parser.parse_args()
    problem = Problem(chosen.problem)
    X, Y, artists = np.asarray(problem.vectors("train")), problem.labels("train"), problem.groups("train")
    parts = folds_by_group(Y > 0, artists, _PARTS, seed=0)
    for head in chosen.heads:
        for name, groups in (("artists", artists), ("every row", np.arange(len(X))), ("similar rows", None)):
            scores = []
            for part in range(_PARTS):
                fit, held_out = np.flatnonzero(parts != part), np.flatnonzero(parts == part)
                fitted = create_head(head).fit(X[fit], Y[fit], groups=None if groups is None else groups[fit])
                score = validation_score(Y[held_out].toarray(), fitted.predict_proba(X[held_out]))
                if score is not None:
                    scores.append((score.map_macro, score.map_macro - score.overall))
            mean_map, log_loss = np.mean(scores, axis=0)
            print(f"{head:<10} {name:<14} mAP {mean_map:.4f}  log-loss {log_loss:.4f}", flush=True)


if __name__ == "__main__":
    main()
