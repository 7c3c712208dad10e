"""Calibration and thresholds against other implementations, exhaustive search, and new data."""

import json
import tracemalloc

import numpy as np
import pytest
from scipy import sparse
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, log_loss, precision_score

from eno.errors import ModelError
from eno.models.calibration.calibrate import Calibration, fit_calibration
from eno.models.calibration.cross_fitting import divide
from eno.models.calibration.scaling import METHODS, fit_scaling, logits_of
from eno.models.calibration.thresholds import NEVER, RULES, Scores, choose_thresholds


def problem(n: int, k: int, seed: int = 0, *, rarest: float = 0.02, decimals: int | None = None):
    """Return overconfident probabilities, with a different bias per label, and labels with a long tail."""
    labels = np.random.default_rng(99)
    base = logit(np.geomspace(0.35, rarest, k)) - 0.8
    strength, slope, offset = labels.uniform(0.5, 3, k), labels.lognormal(0.3, 0.4, k), labels.normal(0.3, 0.5, k)
    rng = np.random.default_rng(seed)
    true = base + strength * rng.standard_normal((n, k))
    Y = (rng.random((n, k)) < expit(true)).astype(np.float32)
    P = expit(slope * true + offset).astype(np.float32)
    return (P if decimals is None else P.round(decimals)), Y


def scores_of(P, Y) -> Scores:
    return Scores(np.ascontiguousarray(P.T, np.float32), sparse.csr_array(Y.T))


def f1_of(truth, decided) -> np.ndarray:
    return 2 * (truth * decided).sum(axis=0) / np.maximum(truth.sum(axis=0) + decided.sum(axis=0), 1)


def f1(P, Y, thresholds) -> tuple[float, float]:
    decided = np.greater(P, thresholds)
    return f1_of(Y, decided)[Y.any(axis=0)].mean(), f1_of(Y.ravel(), decided.ravel())


def midpoints(values) -> np.ndarray:
    values = np.unique(np.append(0.0, values.astype(np.float64)))
    return np.append((values[1:] + values[:-1]) / 2, NEVER)


class TestScaling:
    @staticmethod
    def fit(P, Y, **options):
        return fit_scaling(logits_of(P.T), sparse.csr_array(Y.T), **options)

    @staticmethod
    def targets(y) -> np.ndarray:
        # Platt 1999, section 2.2.
        return np.where(y > 0, (y.sum() + 1) / (y.sum() + 2), 1 / ((1 - y).sum() + 2))

    def test_platt_equals_logistic_regression_on_smoothed_targets(self):
        P, Y = problem(700, 4)
        slopes, offsets, _ = self.fit(P, Y, method="platt", deviations=(np.inf, np.inf))
        for label, y in enumerate(Y.T):
            z, t = logits_of(P[:, [label]]), self.targets(y)
            model = LogisticRegression(C=1e12, tol=1e-10, max_iter=1000).fit(
                np.concatenate([z, z]), np.repeat([1, 0], len(y)), np.concatenate([t, 1 - t])
            )
            np.testing.assert_allclose([slopes[label], offsets[label]], [model.coef_[0, 0], model.intercept_[0]], 2e-3)

    def test_few_positives_are_shrunk_to_the_pooled_fit(self):
        P, Y = problem(60, 5)
        common = [column[0] for column in self.fit(P, Y, method="platt", min_positives=61)[:2]]
        slopes, offsets, pooled = self.fit(P, Y, method="platt")
        assert not pooled.any()
        for label, y in enumerate(Y.T):
            z, t = logits_of(P[:, label]).astype(float), self.targets(y)

            def loss(ab, z=z, t=t):
                s = ab[0] * z + ab[1]
                moved = ab[1] + ab[0] * z.mean() - (common[1] + common[0] * z.mean())
                return (np.logaddexp(0, s) - t * s).sum() + ((ab[0] - common[0]) / 0.5) ** 2 / 2 + moved**2 / 2

            np.testing.assert_allclose([slopes[label], offsets[label]], minimize(loss, common).x, atol=1e-3)

    def test_pooled_fit_equals_that_of_one_label(self):
        P, Y = problem(60, 5)
        slopes, offsets, pooled = self.fit(P, Y, method="platt", min_positives=61)
        assert pooled.all()
        assert len(set(slopes)) == len(set(offsets)) == 1
        z, t = logits_of(P).ravel(), self.targets(Y.ravel())

        def loss(ab):
            s = ab[0] * z.astype(float) + ab[1]
            return (np.logaddexp(0, s) - t * s).sum() + (ab[0] - 1) ** 2 / 2 + 0.01 * ab[1] ** 2 / 2

        np.testing.assert_allclose([slopes[0], offsets[0]], minimize(loss, [1, 0]).x, atol=1e-3)

    def test_temperature_minimises_log_loss(self):
        P, Y = problem(4000, 6)
        slopes, offsets, _ = self.fit(P, Y, method="temperature")
        z = logits_of(P).astype(float)
        best = minimize_scalar(lambda t: log_loss(Y.ravel(), expit(z / t).ravel()), bounds=(0.1, 10), method="bounded")
        np.testing.assert_allclose(slopes, 1 / best.x, rtol=1e-3)
        assert not offsets.any()

    def test_known_distortion_of_logits_is_recovered(self):
        rng = np.random.default_rng(0)
        true = rng.normal(-1, 2, (40_000, 3))
        Y = rng.random(true.shape) < expit(true)
        slopes, offsets, _ = self.fit(expit((true - [0.5, 0, -2]) / [2, 0.5, 1]).astype(np.float32), Y, method="platt")
        np.testing.assert_allclose(slopes, [2, 0.5, 1], rtol=0.05)
        np.testing.assert_allclose(offsets, [0.5, 0, -2], atol=0.1)

    def test_ranking_is_kept_even_if_it_is_inverted(self):
        P, Y = problem(300, 4)
        slopes, _, _ = self.fit(1 - P, Y, method="platt")
        assert (slopes > 0).all()

    def test_separable_labels_have_finite_parameters(self):
        P = np.linspace(0.001, 0.999, 200, dtype=np.float32)[:, None]
        slopes, offsets, _ = self.fit(P, P > 0.5, method="platt", deviations=(np.inf, np.inf))
        assert np.isfinite([slopes, offsets]).all()


class TestRules:
    @pytest.mark.parametrize("decimals", [None, 1])
    def test_scut_has_the_highest_f1_of_all_midpoints(self, decimals):
        P, Y = problem(80, 30, decimals=decimals)
        decided = np.greater(P, choose_thresholds("scut", scores_of(P, Y)))
        for label in np.flatnonzero(Y.any(axis=0)):
            trials = f1_of(Y[:, [label]], P[:, [label]] > midpoints(P[:, label]))
            assert f1_score(Y[:, label], decided[:, label]) == pytest.approx(max(trials))

    def test_global_has_the_highest_f1_of_single_midpoints(self):
        P, Y = problem(80, 6)
        thresholds = choose_thresholds("global", scores_of(P, Y))
        assert len(set(thresholds)) == 1
        best = max(sum(f1(P, Y, t)) for t in midpoints(P.ravel()))
        assert sum(f1(P, Y, thresholds)) == pytest.approx(best)

    def test_pcut_predicts_labels_as_often_as_they_occur(self):
        P, Y = problem(500, 20)
        decided = np.greater(P, choose_thresholds("pcut", scores_of(P, Y)))
        np.testing.assert_array_equal(decided.sum(axis=0), Y.sum(axis=0))

    def test_expected_macro_has_the_highest_expected_f1_of_all_midpoints(self):
        P, Y = problem(120, 10)
        P, expected = P.astype(np.float64), P.sum(axis=0, dtype=np.float64)
        thresholds = choose_thresholds("expected_macro", scores_of(P, Y))
        for label in range(10):
            p = P[:, label]
            expected_f1 = {t: 2 * p[p > t].sum() / ((p > t).sum() + expected[label]) for t in midpoints(p)}
            np.testing.assert_array_equal(p > thresholds[label], p > max(expected_f1, key=expected_f1.get))

    def test_expected_is_a_coordinatewise_maximum(self):
        P, Y = problem(60, 6, rarest=0.1)

        def expected_f1(thresholds) -> float:
            decided = np.greater(P, thresholds)
            hits, predicted, positives = (P * decided).sum(axis=0), decided.sum(axis=0), P.sum(axis=0)
            micro = 2 * hits.sum() / (predicted.sum() + positives.sum())
            return micro + np.mean(2 * hits / (predicted + positives))

        thresholds = choose_thresholds("expected", scores_of(P, Y))
        reached = expected_f1(thresholds)
        for label in range(6):
            others = np.delete(np.arange(6), label)
            for trial in midpoints(P[:, label]):
                moved = np.empty(6)
                moved[others], moved[label] = thresholds[others], trial
                assert expected_f1(moved) <= reached + 1e-6
        assert reached > expected_f1(choose_thresholds("expected_macro", scores_of(P, Y)))

    @pytest.mark.parametrize("decimals", [None, 1])
    def test_micromacro_has_the_highest_sum_on_its_own_rows(self, decimals):
        for seed in range(10):
            P, Y = problem(80, 12, seed, rarest=0.1, decimals=decimals)
            P, Y = P[:, Y.any(axis=0)], Y[:, Y.any(axis=0)]
            reached = {rule: sum(f1(P, Y, choose_thresholds(rule, scores_of(P, Y)))) for rule in RULES}
            assert max(reached.values()) == pytest.approx(reached["micromacro"])

    @pytest.mark.parametrize("rule", ["scut", "micromacro", "pcut"])
    def test_labels_without_positives_use_the_global_threshold(self, rule):
        P, Y = problem(100, 5)
        Y[:, 2] = 0
        scores = scores_of(P, Y)
        assert choose_thresholds(rule, scores)[2] == choose_thresholds("global", scores)[2]

    def test_default_is_better_than_one_half_with_few_validation_rows(self):
        gains = []
        for seed in range(4):
            (P, Y), (P_test, Y_test) = problem(85, 70, seed), problem(2000, 70, 100 + seed)
            calibration = fit_calibration(P, Y)
            calibrated = f1(calibration.apply(P_test), Y_test, calibration.thresholds)
            gains.append(np.subtract(calibrated, f1(P_test, Y_test, np.full(70, 0.5))))
        macro, micro = np.mean(gains, axis=0)
        assert macro > 0.03
        assert micro > 0


class TestCrossFitting:
    def test_groups_stay_whole_and_folds_have_similar_sizes(self):
        rng = np.random.default_rng(0)
        groups = np.array([f"artist {i}" for i in rng.zipf(1.7, 1000) % 150])
        folds = divide(1000, groups, folds=5, seed=0)
        assert set(folds) == set(range(5))
        assert all(len(set(folds[groups == group])) == 1 for group in set(groups))
        rest = np.bincount(folds)[np.bincount(folds).argsort()[:-1]]  # one fold has the artist with the most tracks
        assert rest.max() - rest.min() < 10
        assert (divide(1000, groups, folds=5, seed=1) != folds).any()

    @pytest.mark.parametrize(("groups", "count"), [(None, 3), (["a", "a", "b"], 2), (["a", "a", "a"], 1)])
    def test_there_are_no_more_folds_than_groups(self, groups, count):
        assert divide(3, groups, folds=5, seed=0).max() + 1 == count

    def test_estimates_are_out_of_fold(self):
        P, Y = problem(90, 12, rarest=0.1)
        groups = np.arange(90) // 4
        calibration = fit_calibration(P, Y, groups=groups, method="none", rule="scut", folds=3)
        folds, decided, thresholds = divide(90, groups, folds=3, seed=0), np.empty(Y.shape, bool), []
        for fold in range(3):
            training = folds != fold
            thresholds.append(choose_thresholds("scut", scores_of(P[training], Y[training])))
            decided[~training] = P[~training] > thresholds[-1]
        estimate = calibration.estimates["scut"]
        assert estimate.f1_macro == pytest.approx(f1_score(Y, decided, average="macro", zero_division=0.0))
        assert estimate.f1_micro == pytest.approx(f1_score(Y, decided, average="micro", zero_division=0.0))
        np.testing.assert_allclose(calibration.thresholds, np.mean(thresholds, axis=0))
        assert set(calibration.estimates) == set(RULES)

    def test_estimates_do_not_reward_overfitting(self):
        rng = np.random.default_rng(0)
        P, Y = rng.random((60, 40)).astype(np.float32), (rng.random((60, 40)) < 0.1).astype(np.float32)
        overfitted = f1(P, Y, choose_thresholds("scut", scores_of(P, Y)))[0]
        assert fit_calibration(P, Y, method="none").estimates["scut"].f1_macro < overfitted - 0.08


class TestPrecisionFloor:
    def test_holds_on_new_data(self):
        (P, Y), (P_test, Y_test) = problem(6000, 12), problem(40_000, 12, seed=1)
        calibration = fit_calibration(P, Y, precision_floor=0.8)
        decided = calibration.decide(calibration.apply(P_test))
        assert not decided[:, calibration.never].any()
        often = decided.sum(axis=0) > 100
        assert often.sum() > 4
        precision = precision_score(Y_test[:, often], decided[:, often], average=None)
        assert (precision > 0.75).all()
        assert precision.mean() > 0.8
        # Thresholds are raised no more than necessary, and not at all where precision suffices.
        plain = fit_calibration(P, Y)
        raised = calibration.thresholds > plain.thresholds
        assert precision[raised[often] & ~np.isin(np.flatnonzero(often), calibration.never)].mean() < 0.9
        np.testing.assert_array_equal(np.maximum(calibration.thresholds, plain.thresholds), calibration.thresholds)

    def test_labels_that_cannot_reach_it_are_never_predicted(self):
        P, Y = problem(400, 8)
        P[:, 3] = np.random.default_rng(1).random(400)
        Y[:, 3] = np.random.default_rng(2).random(400) < 0.1
        calibration = fit_calibration(P, Y, precision_floor=0.8)
        assert 3 in calibration.never
        assert not calibration.decide(np.ones((1, 8), np.float32))[0, 3]


class TestCalibration:
    def test_calibration_error_falls(self):
        (P, Y), (P_test, Y_test) = problem(1000, 8), problem(20_000, 8, seed=1)
        errors = {}
        for method in METHODS:
            calibrated = fit_calibration(P, Y, method=method).apply(P_test)
            tenth = np.minimum(calibrated * 10, 9).astype(int)
            errors[method] = np.mean(
                [
                    abs((calibrated[:, label] - Y_test[:, label])[tenth[:, label] == part].sum()) / len(Y_test)
                    for label in range(8)
                    for part in range(10)
                ]
            )
        assert errors["platt"] < 0.4 * errors["none"]
        assert errors["temperature"] < errors["none"]

    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("rule", RULES)
    @pytest.mark.parametrize(
        "case",
        ["one row", "one group", "two rows", "one class", "constant", "0 and 1", "wide", "nothing", "everything"],
    )
    def test_edge_cases(self, case, rule, method, tmp_path):
        P, Y = problem({"one row": 1, "two rows": 2, "wide": 5}.get(case, 40), 30 if case == "wide" else 4)
        groups = np.zeros(len(P)) if case == "one group" else None
        match case:
            case "one class":
                Y[:, 0], Y[:, 1] = 0, 1
            case "constant":
                P[:] = 0.3
            case "0 and 1":
                P = P.round()
            case "nothing":
                Y[:] = 0
            case "everything":
                Y[:] = 1
        calibration = fit_calibration(P, Y, groups=groups, method=method, rule=rule, precision_floor=None)
        calibrated = calibration.apply(P)
        assert calibrated.dtype == np.float32
        assert ((calibrated >= 0) & (calibrated <= 1)).all()
        assert ((calibration.thresholds >= 0) & (calibration.thresholds <= 1)).all()
        assert calibration.estimates == {} or case not in ("one row", "one group", "nothing", "everything")
        calibration.save(tmp_path / "calibration.json")
        loaded = Calibration.load(tmp_path / "calibration.json", labels=Y.shape[1])
        np.testing.assert_array_equal(loaded.decide(loaded.apply(P)), calibration.decide(calibrated))

    def test_sparse_and_soft_labels_are_equivalent(self):
        P, Y = problem(100, 5)
        one, other = fit_calibration(P, Y), fit_calibration(P, sparse.csr_array(Y * 0.5))
        np.testing.assert_array_equal(one.thresholds, other.thresholds)

    def test_labels_without_positives_use_the_pooled_fit(self):
        P, Y = problem(200, 6)
        Y[:, 4] = 0
        calibration = fit_calibration(P, Y)
        np.testing.assert_array_equal(calibration.pooled, [False, False, False, False, True, False])

    def test_saved_and_loaded(self, tmp_path):
        P, Y = problem(100, 20)
        calibration = fit_calibration(P, Y, precision_floor=0.7, groups=np.arange(100) // 3)
        calibration.save(tmp_path / "calibration.json")
        loaded = Calibration.load(tmp_path / "calibration.json")
        for name in ("slopes", "offsets", "thresholds", "pooled"):
            np.testing.assert_array_equal(getattr(loaded, name), getattr(calibration, name))
        assert (loaded.method, loaded.rule, loaded.precision_floor) == ("platt", "expected", 0.7)
        assert loaded.estimates == calibration.estimates
        assert len(loaded.never) > 0
        assert "NaN" not in (tmp_path / "calibration.json").read_text()

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"thresholds": [0.5]}, "different lengths"),
            ({"thresholds": [0.5, float("nan")]}, "holds NaN"),
            ({"thresholds": [0.5, 1.5]}, "outside 0 … 1"),
            ({"slopes": [1.0, 0.0]}, "not above 0"),
            ({"rule": "guess"}, "guess"),
            ({"format": 7}, "has format 7"),
            ({"colour": "red"}, "colour"),
        ],
    )
    def test_damaged_files_are_refused(self, change, message, tmp_path):
        path = tmp_path / "calibration.json"
        fit_calibration(*problem(50, 2)).save(path)
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
        with pytest.raises(ModelError, match=message):
            Calibration.load(path)

    def test_cut_missing_and_foreign_files_are_refused(self, tmp_path):
        path = tmp_path / "calibration.json"
        fit_calibration(*problem(50, 2)).save(path)
        with pytest.raises(ModelError, match="has 2 labels, expected 3"):
            Calibration.load(path, labels=3)
        path.write_text(path.read_text()[:40])
        with pytest.raises(ModelError, match="damaged"):
            Calibration.load(path)
        with pytest.raises(ModelError, match="damaged"):
            Calibration.load(tmp_path / "missing.json")

    @pytest.mark.parametrize(
        ("P", "options", "message"),
        [
            (np.array([[0.1, 0.2], [0.3, np.nan]]), {}, "label 1 are NaN"),
            (np.array([[1.1, 0.2], [0.3, 0.3]]), {}, "label 0"),
            (np.zeros((3, 2)), {}, r"shape \(3, 2\) and Y \(2, 2\)"),
            (np.zeros((2, 2)), {"method": "isotonic"}, "platt, temperature, none"),
            (np.zeros((2, 2)), {"rule": "best"}, "one of expected"),
            (np.zeros((2, 2)), {"precision_floor": 1.0}, "between 0 and 1"),
            (np.zeros((2, 2)), {"folds": 1}, "at least 2"),
            (np.zeros((2, 2)), {"groups": np.zeros(3)}, "3 values for 2 rows"),
        ],
    )
    def test_bad_values_are_refused(self, P, options, message):
        with pytest.raises(ValueError, match=message):
            fit_calibration(P, np.eye(2), **options)

    def test_labels_that_are_nan_are_refused(self):
        with pytest.raises(ValueError, match="Y has NaN"):
            fit_calibration(np.full((2, 2), 0.5), np.array([[1, np.nan], [0, 1]]))

    def test_other_numbers_of_labels_are_refused(self):
        with pytest.raises(ValueError, match=r"\(3, 4\); expected \(n, 2\)"):
            fit_calibration(*problem(50, 2)).apply(np.zeros((3, 4)))


def test_logits_that_are_far_too_sure_are_calibrated_too():
    """Of boosted trees on few rows logits reach from -16 to 15; Newton's whole steps would lead away from there."""
    rng = np.random.default_rng(0)
    truth = (rng.random((42, 17)) < np.linspace(0.1, 0.7, 17)).astype(np.float32)
    logits = np.where(truth > 0, 4.0, -6.0) + 6 * rng.standard_normal(truth.shape)
    probabilities = expit(logits).astype(np.float32)
    logits = logits_of(probabilities).T
    slope, offset, _ = fit_scaling(logits, sparse.csr_array(truth.T), method="platt", min_positives=99)
    assert 0.05 < slope[0] < 1
    z, target = logits_of(probabilities).T.reshape(-1), truth.T.reshape(-1)
    high, low = (target.sum() + 1) / (target.sum() + 2), 1 / ((1 - target).sum() + 2)
    smoothed = np.where(target > 0, high, low)

    def loss(at):
        return np.logaddexp(0, at[0] * z + at[1]).sum() - (smoothed * (at[0] * z + at[1])).sum()

    best = minimize(lambda at: loss(at) + 0.5 * (at[0] - 1) ** 2 + 0.005 * at[1] ** 2, [0.5, 0.0], method="Nelder-Mead")
    np.testing.assert_allclose([slope[0], offset[0]], best.x, atol=1e-3)


@pytest.mark.parametrize("rule", RULES)
def test_labels_that_are_not_known_do_not_count(rule):
    P, Y = problem(300, 4)
    known = np.ones(P.shape, bool)
    known[np.arange(300) % 3 == 0, 2] = known[::2, 3] = False
    options = {"groups": np.arange(300) // 3, "rule": rule, "seed": 1}
    found = fit_calibration(P, Y, known=known, **options)
    # Whatever is written where a label is not known.
    other = fit_calibration(np.where(known, P, 1 - P), np.where(known, Y, 1 - Y), known=known, **options)
    assert found.slopes == pytest.approx(other.slopes)
    assert found.thresholds == pytest.approx(other.thresholds)
    assert found.estimates == other.estimates
    # As if the rows in which no label is known were not there.
    alone = np.arange(300) % 3 > 0
    some = fit_calibration(P, Y, known=np.repeat(alone[:, np.newaxis], 4, axis=1), method="temperature", rule="pcut")
    rest = fit_calibration(P[alone], Y[alone], method="temperature", rule="pcut")
    assert some.slopes == pytest.approx(rest.slopes, rel=1e-4)
    assert some.thresholds == pytest.approx(rest.thresholds, rel=1e-4)


def test_scaling_of_a_label_is_that_of_the_rows_in_which_it_is_known():
    P, Y = problem(400, 3)
    known = np.random.default_rng(0).random(P.shape) < 0.6
    infinite = {"method": "platt", "deviations": (np.inf, np.inf)}
    truth = sparse.csr_array((Y * known).T)
    slopes, offsets, _ = fit_scaling(logits_of(P.T), truth, known=np.ascontiguousarray(known.T), **infinite)
    for label in range(3):
        rows = known[:, label]
        slope, offset, _ = fit_scaling(
            logits_of(P[rows, label][None]), sparse.csr_array(Y[rows, label][None]), **infinite
        )
        assert (slopes[label], offsets[label]) == pytest.approx((slope[0], offset[0]), rel=1e-4, abs=1e-5)


def test_takes_little_memory_beside_a_copy(monkeypatch):
    monkeypatch.setattr("eno.models.calibration.calibrate._ESTIMATED_VALUES", 10_000)
    for name in ("_VALUES_AT_ONCE", "_POOLED_VALUES"):
        monkeypatch.setattr(f"eno.models.calibration.scaling.{name}", 10_000)
    P, Y = problem(4_000, 50)
    tracemalloc.start()
    try:
        fit_calibration(P, Y)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak / P.astype(np.float32).nbytes < 3.6
