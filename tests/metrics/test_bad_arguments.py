"""Every function with arguments that are wrong: an error that says so, or a number."""

import inspect
from decimal import Decimal

import keras
import numpy as np
import pytest

from tfhyper import metrics

RNG = np.random.default_rng(0)
BATCH, CLASSES = 6, 4
PROBABILITIES = RNG.dirichlet(np.ones(CLASSES), size=(3, BATCH))
DRAWS = RNG.normal(size=(3, BATCH))
TARGETS = RNG.normal(size=BATCH)

IMAGES = RNG.uniform(size=(2, 4, 5))

# What is right, by the name of the argument.
RIGHT = {
    "labels": np.array([0, 1, 2, 3, 0, 1]),
    "probs": PROBABILITIES.mean(axis=0),
    "members": PROBABILITIES,
    "targets": TARGETS,
    "mean": DRAWS.mean(axis=0),
    "variance": np.arange(1.0, BATCH + 1),
    "noise_variance": 0.5,
    "samples": DRAWS,
    "scores_in": DRAWS[0],
    "scores_out": TARGETS,
    "losses": TARGETS,
    "uncertainty": DRAWS[0],
    "k": 2,
    "num_bins": 10,
    "score": "crps",
    "interval": (TARGETS - 1, TARGETS + 1),
    "level": 0.9,
    "levels": [0.1, 0.5],
    "fair": False,
    "logits": DRAWS,
    "constant": 1.0,
    "optimal": 2.0,
    "sample_weight": np.arange(BATCH),
    "ignore_class": 255,
    "predicted": np.array([0, 1, 3, 3, 0, 2]),
    "num_classes": CLASSES,
    "per_example": True,
    "matrix": np.eye(CLASSES),
    "scores": np.arange(CLASSES),
    "tolerance": 1.5,
    "means": DRAWS,
    "variances": 0.5,
    "shares": [0.2, 0.5, 0.3],
    "quantiles": np.sort(DRAWS, axis=0)[:2],
    "pit": np.arange(BATCH) / BATCH,
    "max_value": 2.0,
    "window": 3,
    "border": 0,
    "images": np.ones((BATCH, 3)),
    "threshold": 0.5,
    "thresholds": [0.1, 0.5],
    "patch_size": 2,
    "accuracy": 0.25,
    "points": 5,
    "mask": np.arange(BATCH) > 1,
    "rejected": np.arange(BATCH) > 3,
    "coverage": 0.5,
    "risk": 0.1,
    "of": "classes",
    "bins": "width",
    "norm": "l2",
    "debiased": False,
    "num_samples": 3,
    "seed": 1,
    "real": RNG.normal(size=(BATCH, 2)),
    "generated": RNG.normal(size=(BATCH, 2)),
    "least_share": 0.1,
}
OF_REGRESSION = (
    "fit_noise_variance",
    "predictive_log_likelihood",
    "predictive_moments",
)

# Wrong for every argument of every function.
WRONG = {
    "text": "abc",
    "bytes": b"ab",
    "an object": object(),
    "a dict": {"a": 1},
    "a set": {1, 2},
    "a function": len,
    "a class": int,
    "a list of text": ["a"] * BATCH,
    "a list of None": [None] * BATCH,
    "rows of two lengths": [[0.5, 0.5], [1.0]],
    "objects": np.array([1, "a", None], dtype=object),
    "decimals": [Decimal("0.5")] * BATCH,
    "complex numbers": np.ones(BATCH) * 1j,
    "dates": np.array(["2020-01-01"] * BATCH, "datetime64[D]"),
    "records": np.zeros(BATCH, [("a", float)]),
    "a symbol": keras.KerasTensor((BATCH,)),
    "NaN": np.nan,
    "infinity": np.inf,
    "a row of NaN": np.full(BATCH, np.nan),
    "rows of NaN": np.full((BATCH, CLASSES), np.nan),
    "draws of infinity": np.full((3, BATCH, CLASSES), np.inf),
    "no numbers": [],
    "no rows": np.zeros((0, CLASSES)),
    "five axes": np.ones((1, 1, 3, BATCH, CLASSES)),
    "a mask": np.ma.masked_array(np.ones(BATCH), mask=np.eye(BATCH)[0]),
    "beyond float64": np.full(BATCH, np.longdouble("1e4000")),
    "a huge integer": 10**400,
}
# A function of logits of any shape, an interval of any two rows.
ACCEPTED = {("logits", "no rows"), ("logits", "five axes")}
# Draws of numbers of any shape.
ACCEPTED_SHAPES = {
    ("pit_coverage_curve", "pit", "five axes"),
    ("pit_histogram", "pit", "five axes"),
    ("sharpness", "variance", "five axes"),
    ("predictive_moments", "members", "five axes"),
    ("sample_interval", "samples", "five axes"),
}
# Weights are of the right ones.
NO_WEIGHTS = dict.fromkeys(
    ("pit_coverage_curve", "pit_histogram", "sharpness"), {"sample_weight": None}
)
# NaN is a class that does not occur.
ACCEPTED_SCORES = {"a row of NaN", "rows of NaN", "five axes"}


def functions():
    found = {name: getattr(metrics, name) for name in metrics.__all__}
    del found["bootstrap"]  # of any score and arrays: tests/metrics/test_resampling.py
    return {name: f for name, f in found.items() if inspect.isfunction(f)}


def right_arguments(name):
    parameters = list(inspect.signature(functions()[name]).parameters)
    if name == "rejection_threshold":
        parameters = ["uncertainty", "coverage"]  # which go without the others
    found = {parameter: RIGHT[parameter] for parameter in parameters}
    if name in OF_REGRESSION or name == "regression_report":
        found["members"] = DRAWS
    if name == "normalized_score":
        found["score"] = 1.5
    if name in ("binary_report", "threshold_curve"):
        found |= {"labels": np.arange(BATCH) % 2, "probs": PROBABILITIES[0, :, 0]}
    if name in ("psnr", "ssim"):
        found |= {"targets": IMAGES, "predicted": IMAGES / 2}
    if name in ("label_scores", "multilabel_report"):
        found |= {"labels": PROBABILITIES[1] > 0.2, "probs": PROBABILITIES[0]}
    if name in ("ause", "sparsification_curve"):
        found["losses"] = np.abs(TARGETS)
    if name in ("boundary_f1", "patch_counts"):
        maps = {"labels", "predicted", "uncertainty"} & set(found)
        found |= {argument: found[argument].reshape(1, 2, 3) for argument in maps}
    return found


@pytest.mark.parametrize("name", functions())
def test_wrong_arguments_are_named(name):
    call, right = functions()[name], right_arguments(name)
    call(**right)
    for argument in right:
        for kind, value in WRONG.items():
            if (argument, kind) in ACCEPTED:
                assert np.shape(call(**{**right, argument: value})) == np.shape(value)
                continue
            if (name, argument, kind) in ACCEPTED_SHAPES:
                call(**{**right, argument: value, **NO_WEIGHTS.get(name, {})})
                continue
            if name == "class_mean" and kind in ACCEPTED_SCORES:
                assert np.shape(call(value)) == np.shape(value)[:-1]
                continue
            try:
                found = call(**{**right, argument: value})
            except (TypeError, ValueError) as error:
                said = str(error)
                assert f"`{argument}" in said and "Received: " in said, (kind, said)
            else:
                pytest.fail(f"{argument} took {kind} and gave {found}")


@pytest.mark.parametrize("name", functions())
def test_none_is_named_or_the_default(name):
    call, right = functions()[name], right_arguments(name)
    parameters = inspect.signature(call).parameters
    for argument in right:
        if name == "rejection_threshold" and argument == "coverage":
            continue  # of which and of another one is needed
        if parameters[argument].default is None:
            call(**{**right, argument: None})
            continue
        with pytest.raises((TypeError, ValueError), match=f"`{argument}.*Received: "):
            call(**{**right, argument: None})


@pytest.mark.parametrize("name", functions())
def test_two_swapped_arguments_give_a_number_or_an_error_of_ours(name):
    call, right = functions()[name], right_arguments(name)
    names = list(right)
    for i, first in enumerate(names):
        for second in names[:i]:
            swapped = {**right, first: right[second], second: right[first]}
            try:
                call(**swapped)
            except (TypeError, ValueError) as error:
                assert "`" in str(error) and "Received: " in str(error)
            else:
                # Nothing tells two rows of numbers apart, nor three scores.
                assert np.shape(right[first]) == np.shape(right[second])


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: metrics.rmse([1e200], [0.0]), "`targets` must lie within.*1e[+]200"),
        (lambda: metrics.aurc([0.0], [-1e200]), "`uncertainty` must lie.*-1e[+]200"),
        (lambda: metrics.crps_gaussian([0], [0], 1e200), "`variance` must lie within"),
        (
            lambda: metrics.gaussian_log_likelihood([1e100], [0.0], 1e-200),
            "`variance` must not be so far below.*from 1e-200",
        ),
        (
            lambda: metrics.predictive_log_likelihood([9.0], [[0.0], [1.0]], 1e-308),
            "`noise_variance` must not be so far below.*from 1e-308",
        ),
        (
            lambda: metrics.normalized_score(1e308, -1e308, 0.0),
            "`score`, `constant` and `optimal` must differ.*score=1e[+]308",
        ),
        (
            lambda: metrics.reliability_curve([0], [[1.0, 0.0]], 10**12),
            "`num_bins` must be at most 100000. Received: num_bins=1000000000000",
        ),
        (
            lambda: metrics.crps_samples([0.0], [[0.0]], fair="False"),
            "`fair` must be True or False. Received: fair='False'",
        ),
    ],
)
def test_numbers_beyond_what_can_be_computed_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("bools", [True, [True] * BATCH])
@pytest.mark.parametrize(
    "call",
    [
        lambda bools: metrics.crps_gaussian(TARGETS, TARGETS, variance=bools),
        lambda bools: metrics.predictive_moments(DRAWS, noise_variance=bools),
    ],
)
def test_bools_are_no_variances(call, bools):
    with pytest.raises(TypeError, match="variance` must hold real numbers, not bools"):
        call(bools)


@pytest.mark.parametrize("level", [1e-300, 1 - 2.0**-53])
def test_levels_next_to_the_ends_have_intervals(level):
    lower, upper = metrics.gaussian_interval([0.0], [1.0], level)
    assert lower <= 0 <= upper and np.isfinite(upper)
    if level > 0.5:
        assert upper[0] == pytest.approx(8.2924, abs=1e-3)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("classes", [2, 10, 1000])
def test_half_precision_softmax_is_accepted(dtype, classes):
    logits = RNG.normal(size=(300, classes)).astype(np.float32) * 3
    probs = keras.layers.Softmax(dtype=dtype)(logits)
    labels = RNG.integers(0, classes, size=300)
    wide = keras.ops.convert_to_numpy(keras.ops.cast(probs, "float32"))
    if dtype == "bfloat16":
        assert np.max(np.abs(wide.sum(axis=1) - 1)) > 1e-3
    # As they are, and where a float32 layer follows.
    found = metrics.classification_report(labels, probs)
    assert found == metrics.classification_report(labels, wide)
    direct = np.mean(-np.log(np.maximum(wide[np.arange(300), labels], 2.0**-126)))
    assert found["nll"] == pytest.approx(direct, rel=1e-5)
    with pytest.raises(ValueError, match="`probs` must sum to one within"):
        metrics.error(labels, wide * 1.1)
