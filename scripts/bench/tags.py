"""Quality of eno's heads, against what scikit-learn's models reach in one line on the same rows.

Every model is fitted on all rows that are not test rows, in a process of its own; eno's heads choose their options
within these rows, and know the artists where the data set has them. Options are the defaults, except for the rival with
"CV", which chooses C by cross-validation in folds of whole artists (on one fold, if there are more than 10,000 rows).

    python -m scripts.bench.tags --emotions mulan_emotions.arff --yeast mulan_yeast.arff --draws 10
    python -m scripts.bench.tags --gtzan gtzan_msdmusicnn_taggram_train.npz gtzan_msdmusicnn_taggram_test.npz
    python -m scripts.bench.tags --store data/demo/embeddings/musicnn-454219cbc6d1 --data-root data/demo
    python -m scripts.bench.tags --soundfonts FluidR3_GM.sf2 TimGM6mb.sf2 sf_GMbank.sf2 --heads auto
    python -m scripts.bench.tags --long-tail 20000 100 --long-tail 300000 1000 --heads linear mlp

emotions and yeast: https://github.com/tsoumakas/mulan, random hold-outs of 270 and 900 test rows. GTZAN: tag-grams of
musicnn, https://github.com/jordipons/sklearn-audio-transfer-learning, artist-filtered split, mean over windows. A store
is divided by its own splits, or with ``--store-draws`` in random hold-outs of a quarter of its artists. Soundfonts play
the instruments of General MIDI (`tagging.instruments`); the three above are those of Debian's fluid-soundfont-gm,
timgm6mb-soundfont and csound-soundfont. The long tail is made by `tagging.long_tail`. Metrics are means over labels
with positives and negatives in the test rows; F1 is that of probabilities above 0.5.

The last column is the difference in macro mAP to the rival with the highest one, with a 95 % confidence interval: over
artists where there is one split, and over the draws, with a correction for their overlap, where there are several. The
best of the rivals is chosen on the test rows themselves, in its favour.

With ``--folder`` problems and predictions are kept there, and models that have predictions are not fitted again.
``--half`` divides the training rows instead, to choose defaults on; test rows are not touched then.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

from eno.data.layout import DataRoot
from eno.registry import TRAINED_HEADS
from scripts.bench.tagging import problems
from scripts.bench.tagging.measuring import measure, measure_here
from scripts.bench.tagging.models import RIVALS, feasible
from scripts.bench.tagging.table import as_json, rows_of, show


def data_sets(chosen: argparse.Namespace, folder: Path) -> Iterator[tuple[str, list[problems.Problem]]]:
    """Yield the data sets that are named, with their names."""
    if chosen.emotions:
        yield "emotions", problems.of_arff(folder / "emotions", chosen.emotions, 6, 270, chosen.draws)
    if chosen.yeast:
        yield "yeast", problems.of_arff(folder / "yeast", chosen.yeast, 14, 900, chosen.draws)
    if chosen.gtzan:
        yield "GTZAN", problems.of_gtzan(folder / "gtzan", *chosen.gtzan)
    for store in chosen.store:
        data, draws = DataRoot(chosen.data_root), chosen.store_draws
        yield store.name, problems.of_store(folder / store.name, store, data, draws)
    if chosen.soundfonts:
        from scripts.bench.tagging.instruments import of_soundfonts  # the packages of the demo are not always installed

        for name, problem in of_soundfonts(folder / "instruments", chosen.soundfonts):
            yield f"instruments of {name}", [problem]
    for rows, labels in chosen.long_tail:
        yield f"long tail {rows} x {labels}", problems.of_long_tail(folder / f"tail-{rows}-{labels}", rows, labels)


def compare(chosen: argparse.Namespace, folder: Path) -> None:
    """Measure all models on each data set."""
    for name, drawn in data_sets(chosen, folder):
        if chosen.half:
            drawn = problems.first_half(drawn, folder / f"half-{name}")
        rivals = [one for one in feasible(drawn[0]) if chosen.rivals is None or one in chosen.rivals]
        models = [
            one
            for one in [*rivals, *chosen.heads]
            if measure(drawn, one, chosen.options.get(one, {}), limit_s=chosen.limit)
        ]
        rows, dim = drawn[0].vectors("train").shape
        labels, load = drawn[0].labels("train").shape[1], os.getloadavg()[0]
        results = rows_of(name, drawn, models, rivals)
        show(f"{name}: {rows} rows of {dim}, {labels} labels, {len(drawn)} draw(s); load {load:.1f}", results)
        if chosen.json:
            with chosen.json.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(one) + "\n" for one in as_json(results))


def main() -> None:
    """Measure the data sets that are named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--emotions", type=Path)
    parser.add_argument("--yeast", type=Path)
    parser.add_argument("--gtzan", type=Path, nargs=2)
    parser.add_argument("--store", type=Path, action="append", default=[])
    parser.add_argument("--data-root", type=Path, help="folder of the splits and labels of the stores")
    parser.add_argument("--store-draws", type=int, default=0, help="random hold-outs of artists instead of the split")
    parser.add_argument("--soundfonts", type=Path, nargs="+", help="of General MIDI; each is tested on in turn")
    parser.add_argument("--long-tail", type=int, nargs=2, action="append", default=[], metavar=("ROWS", "LABELS"))
    parser.add_argument("--draws", type=int, default=10, help="random hold-outs of emotions and yeast")
    parser.add_argument("--half", action="store_true", help="test on half of the training rows")
    parser.add_argument("--heads", nargs="*", default=list(TRAINED_HEADS))
    parser.add_argument("--rivals", nargs="*", choices=list(RIVALS))
    parser.add_argument("--options", type=json.loads, default={}, help='JSON, by head: {"mlp": {"max_epochs": 5}}')
    parser.add_argument("--limit", type=float, default=7200.0, help="seconds that a model may take for a data set")
    parser.add_argument("--folder", type=Path, help="keep problems and predictions here")
    parser.add_argument("--json", type=Path, help="append the tables to this file as JSON Lines")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--problems", type=Path, nargs="+", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        warnings.filterwarnings("ignore", category=FutureWarning)
        for folder in chosen.problems:
            measure_here(problems.Problem(folder), chosen.one, chosen.options.get(chosen.one, {}))
    elif chosen.folder:
        compare(chosen, chosen.folder)
    else:
        with tempfile.TemporaryDirectory() as folder:
            compare(chosen, Path(folder))


if __name__ == "__main__":
    main()
