"""A good call of everything public: what a bad call spoils one argument of.

`GOOD` has a function for each public callable, which gives good arguments; those that
have a default may be left out. `DOMAINS` says what an argument may be where its name
(`BY_NAME`) or its annotation does not. A public callable without either fails
`tests/benchmarks/test_bad_calls.py`: enter it here.
"""

import functools
import os
import tempfile
from collections.abc import Callable
from typing import Any

import bad_values as bv
import keras
import numpy as np

import tfhyper
from tfhyper import analysis, data, detection, heads, layers, metrics, training

# --- Arrays: six examples of three classes, four draws.

RNG = np.random.default_rng(0)
LABELS = np.array([0, 1, 2, 1, 0, 2])
MEMBERS = RNG.dirichlet(np.ones(3), (4, 6))
PROBS = MEMBERS.mean(axis=0)
TARGETS = RNG.normal(size=6)
MEAN = TARGETS + 0.1 * RNG.normal(size=6)
VARIANCE = RNG.uniform(0.5, 1.0, 6)
SAMPLES = MEAN + RNG.normal(size=(4, 6))
UNCERTAINTY = RNG.uniform(size=6)
INPUTS = RNG.normal(size=(6, 4)).astype("float32")
IMAGES = RNG.uniform(size=(6, 5, 5, 1))
PICTURES = np.linspace(0, 1, 128).reshape(2, 8, 8)
TABLE = RNG.normal(size=(30, 3))

MAP_LABELS = RNG.integers(0, 3, (6, 5, 5))

# --- Models: small, and made anew where a call changes them.


def plain() -> keras.Model:
    """Returns a classifier of plain layers."""
    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(5, "relu", name="hidden"),
            keras.layers.Dense(3, name="logits"),
        ]
    )


def normalized() -> keras.Model:
    """Returns a classifier with BatchNorm."""
    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(5, name="hidden"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Dense(3, name="logits"),
        ]
    )


def _kept(kind: str) -> dict:
    """Returns a callback that kept weights of a model, and the model."""
    model, rate = plain(), training.CosineCycles(0.1, 4, 2)
    made: dict[str, Callable[[], training.KeepWeights]] = {
        "CyclicSGMCMC": lambda: training.CyclicSGMCMC(2),
        "FastGeometric": lambda: training.FastGeometric(2),
        "SWAG": lambda: training.SWAG(2, start=0.0),
        "Snapshots": lambda: training.Snapshots(2),
        "WeightAverage": lambda: training.WeightAverage(0.0),
    }
    rates = {
        "CyclicSGMCMC": training.SGHMC(rate, 8, exploration=0.4),
        "FastGeometric": keras.optimizers.SGD(training.GeometricRate(0.1, 2, 2)),
        "Snapshots": keras.optimizers.SGD(rate),
    }
    model.compile(rates.get(kind, "sgd"), "mse")
    x, callback = np.ones((8, 4)), made[kind]()
    y = np.arange(24.0).reshape(8, 3)
    model.fit(x, y, 8, epochs=4, verbose=0, callbacks=[callback])
    return {"self": callback, "model": model}


def images_model() -> keras.Model:
    """Returns one with convolutions."""
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            keras.layers.Conv2D(4, 3, name="conv"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(3, name="logits"),
        ]
    )


def bayesian(units: int = 3) -> keras.Model:
    """Returns a classifier of Gaussian posteriors, in two blocks."""
    return keras.Sequential(
        [
            keras.Input((4,)),
            layers.BayesDense(5, kl_weight=0.1, seed=1, name="block1"),
            layers.BayesDense(units, kl_weight=0.1, seed=2, name="block2"),
        ]
    )


def variational() -> tfhyper.Variational:
    """Returns a classifier whose weights all have a posterior, not compiled."""
    return tfhyper.Variational(plain(), len(INPUTS), seed=0)


def fitted_laplace() -> tfhyper.Laplace:
    """Returns the Laplace approximation of a classifier, fitted."""
    return tfhyper.Laplace(plain()).fit(INPUTS, LABELS, verbose=0)


def compiled(model: keras.Model | None = None) -> keras.Model:
    """Returns a compiled classifier."""
    model = plain() if model is None else model
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss)
    return model


def fresh_predictor(**options) -> tfhyper.PosteriorPredictor:
    """Returns a predictor."""
    return tfhyper.PosteriorPredictor(bayesian(), num_draws=4, **options)


predictor = functools.cache(fresh_predictor)


@functools.cache
def regressor() -> tfhyper.PosteriorPredictor:
    """Returns a predictor of numbers."""
    return tfhyper.PosteriorPredictor(bayesian(1), num_draws=4, outputs="mean")


@functools.cache
def map_predictor() -> tfhyper.PosteriorPredictor:
    """Returns a predictor of a class for each pixel."""
    inputs = keras.Input((6, 6, 2))
    pixels = layers.HyperConv2D(2, 3, padding="same")(inputs)
    return tfhyper.PosteriorPredictor(keras.Model(inputs, pixels), num_draws=2)


def fresh_ensemble(**options) -> tfhyper.DeepEnsemble:
    """Returns a deep ensemble."""
    return tfhyper.DeepEnsemble([plain(), plain()], **options)


ensemble = functools.cache(fresh_ensemble)


@functools.cache
def scorer() -> detection.Scorer:
    """Returns a fitted scorer of foreign inputs."""
    return detection.Mahalanobis(shrinkage=None).fit(predictor(), INPUTS, LABELS)


@functools.cache
def ddu() -> detection.DDU:
    """Returns fitted DDU."""
    return detection.DDU().fit(predictor(), INPUTS, LABELS)


@functools.cache
def compared() -> tfhyper.comparison.ComparisonTable:
    """Returns a table of one predictor."""
    return tfhyper.evaluate(
        {"one": predictor()}, (INPUTS, LABELS), num_samples=2, timed_batches=1
    )


@functools.cache
def detected() -> detection.DetectionTable:
    """Returns a table of scorers."""
    return detection.table(
        predictor(), INPUTS, far={"far": 9 * INPUTS}, num_samples=2, verbose=0
    )


def saved_scorer() -> str:
    """Returns the path of one."""
    path = os.path.abspath("scorer.npz")
    scorer().save(path, overwrite=True)
    return path


@functools.cache
def heteroscedastic() -> tfhyper.PosteriorPredictor:
    """Returns a predictor of a normal distribution."""
    head = tfhyper.heads.NormalHead()
    hidden = tfhyper.layers.BayesDense(head.units)
    return tfhyper.PosteriorPredictor(
        keras.Sequential([keras.Input((4,)), hidden, head]), 2
    )


@functools.cache
def tagger() -> tfhyper.PosteriorPredictor:
    """Returns a predictor of three labels, each by itself."""
    return tfhyper.PosteriorPredictor(bayesian(), 2, outputs="label_logits")


def regression_ensemble() -> tfhyper.DeepEnsemble:
    """Returns a deep ensemble of numbers."""
    models = []
    for _ in range(2):
        models.append(keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)]))
    return tfhyper.DeepEnsemble(models, outputs="mean")


@functools.cache
def enlarger() -> tfhyper.PosteriorPredictor:
    """Returns a predictor of pictures."""
    channels = IMAGES.shape[-1]
    model = tfhyper.models.espcn(2, input_shape=(None, None, channels), kit="hyper")
    return tfhyper.PosteriorPredictor(model, 2, outputs="mean")


# --- Files: in a folder of the call, which is the present one.


def saved_predictor() -> str:
    """Returns the path of one."""
    path = os.path.abspath("predictor.tfhyper")
    predictor().save(path, overwrite=True)
    return path


def saved_ensemble() -> str:
    """Returns the path of one."""
    path = os.path.abspath("ensemble.tfhyper")
    ensemble().save(path, overwrite=True)
    return path


def saved_table() -> str:
    """Returns the path of a table of numbers."""
    path = os.path.abspath("table.txt")
    np.savetxt(path, TABLE)
    return path


def saved_pairs() -> dict[str, str]:
    """Returns the folders of six images and of their masks."""
    from PIL import Image

    folders = {}
    for name, arrays in (
        ("images", (255 * IMAGES[..., 0]).astype("uint8")),
        ("masks", MAP_LABELS.astype("uint8")),
    ):
        folders[f"{name}_dir"] = os.path.abspath(name)
        os.makedirs(name, exist_ok=True)
        for i, array in enumerate(arrays):
            Image.fromarray(array).save(os.path.join(name, f"{i}.png"))
    return folders


def workdir() -> training.Workdir:
    """Returns a folder of a training."""
    return training.Workdir(tempfile.mkdtemp(dir="."), {"epochs": 1})


def trained_workdir() -> dict:
    """Returns a folder with a checkpoint in the middle of an epoch, and that."""
    folder = workdir()
    folder.save(compiled(), 1, {"loss": [1.0]}, 1, [[0.0]])
    return {"self": folder, "checkpoint": folder.checkpoints()[0]}


def batches() -> Any:
    """Returns a dataset of batches."""
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices((INPUTS, LABELS)).batch(2).repeat()


def once() -> Any:
    """Returns a dataset that ends."""
    return batches().take(3)


class _Data:
    """What `fit_in_workdir` reads."""

    steps_per_epoch = 3

    def train_from(self, epoch):
        return batches()


@functools.cache
def embedded() -> data.Data:
    """Returns a set as pipelines."""
    return data.load("fashion_mnist_small", train_examples=20, test_examples=10)


def _block(kit, x, width, strides, *, name):
    return kit.conv(width, 3, strides=strides, name=name)(x)


def _posterior(**more):
    return lambda: {"model": bayesian(), "num_draws": 2, "seed": 0, **more}


def _exported(suffix, **more):
    def good():
        return {
            "predictor": predictor(),
            "path": os.path.abspath("exported" + suffix),
            "check_data": (INPUTS, LABELS),
            "class_names": ["a", "b", "c"],
            "metadata": {"by": "us"},
            "verbose": 0,
            **more,
        }

    return good


def _saved_model():
    good = _exported("")()
    del good["check_data"], good["verbose"]
    return {**good, "sampling": True, "sampling_inputs": INPUTS}


@functools.cache
def _prediction_map_predictor() -> tfhyper.Prediction:
    """Returns what a network says of six maps of 5 x 5 pixels."""
    model = keras.Sequential(
        [keras.Input((5, 5, 1)), layers.BayesConv2D(3, 1, kl_weight=0.1, seed=0)]
    )
    predictor = tfhyper.PosteriorPredictor(model, 2)
    return predictor.predict(IMAGES, verbose=0)


@functools.cache
def _correlation():
    return analysis.weight_correlation(bayesian(), num_pairs=5, num_draws=10)


def _mixture():
    return heads.DrawMixture(**GOOD["heads.DrawMixture"]())


RECIPE = training.RECIPES["wide_resnet", "cifar10"]


def _recipe(**more):
    return lambda: {"model": plain(), "epochs": 4, "steps_per_epoch": 5, **more}


_LABELLED = {"labels": LABELS, "probs": PROBS}
_ONES = np.array([[0, 1, 1], [1, 0, 0], [1, 1, 0], [0, 0, 1], [1, 0, 1], [0, 1, 0]])
_MAPS = {"labels": LABELS.reshape(1, 2, 3), "predicted": LABELS.reshape(1, 2, 3) // 2}
_TARGETS = {"targets": TARGETS, "mean": MEAN}
_GAUSSIAN = {**_TARGETS, "variance": VARIANCE}
_REGRESSION = {"targets": TARGETS, "members": SAMPLES, "noise_variance": VARIANCE}
_PREDICTED = {"x": INPUTS, "batch_size": 4, "verbose": 0}
_KNOWN = {"predictor": predictor(), "x_train": INPUTS, "y_train": LABELS, "verbose": 0}
_SMALL = {"num_classes": 3, "kit": "deterministic", "input_shape": (32, 32, 1)}
_PICTURES = {"kit": "deterministic", "input_shape": (8, 8, 1)}
_CONV = {"filters": 2, "kernel_size": 2}

# What is spoiled of arguments that good calls leave out.
USUAL = {"sample_weight": UNCERTAINTY}

# Class of a layer -> its good arguments, and the shape of inputs.
LAYERS: dict[str, tuple[dict, tuple]] = {
    "Augment": ({"views": [None, keras.layers.Identity()]}, (2, 6, 6, 2)),
    "BayesConv1D": (_CONV, (2, 6, 2)),
    "BayesConv2D": (_CONV, (2, 6, 6, 2)),
    "BayesConv2DTranspose": (_CONV, (2, 6, 6, 2)),
    "BayesConv3D": (_CONV, (2, 6, 6, 6, 2)),
    "BayesDense": ({"units": 3}, (2, 4)),
    "BayesDepthwiseConv2D": ({"kernel_size": 2}, (2, 6, 6, 2)),
    "BayesHyperConv2D": (_CONV, (2, 6, 6, 2)),
    "BayesHyperDense": ({"units": 3}, (2, 4)),
    "BicubicUpsampling2D": ({}, (2, 3, 3, 2)),
    "ConcreteDropout": ({"layer": keras.layers.Dense(3)}, (2, 4)),
    "Dropout": ({"rate": 0.5}, (2, 4)),
    "Flip": ({}, (2, 6, 6, 2)),
    "HyperConv1D": (_CONV, (2, 6, 2)),
    "HyperConv2D": (_CONV, (2, 6, 6, 2)),
    "HyperConv2DTranspose": (_CONV, (2, 6, 6, 2)),
    "HyperConv3D": (_CONV, (2, 6, 6, 6, 2)),
    "HyperDense": ({"units": 3}, (2, 4)),
    "HyperDepthwiseConv2D": ({"kernel_size": 2}, (2, 6, 6, 2)),
    "KernelGenerator": ({}, (2, 4)),
    "LatentCode": ({}, (2, 4)),
    "SubspacePoint": ({"kind": "simplex", "corners": 3}, (2, 4)),
    "MCDropout": ({"rate": 0.5}, (2, 4)),
    "MNFConv2D": (_CONV, (2, 6, 6, 2)),
    "MNFDense": ({"units": 3}, (2, 4)),
    "MaxUnpooling2D": ({}, (2, 3, 3, 2)),
    "PixelShuffle": ({}, (2, 3, 3, 8)),
    "RandomVariables": ({"layer": keras.layers.Dense(3)}, (2, 4)),
    "RandomFeatureGaussianProcess": (
        {"units": 3, "num_features": 8, "num_examples": 100},
        (2, 4),
    ),
    "RankOneConv1D": (_CONV, (2, 6, 2)),
    "RankOneConv2D": (_CONV, (2, 6, 6, 2)),
    "RankOneConv3D": (_CONV, (2, 6, 6, 6, 2)),
    "RankOneDense": ({"units": 3}, (2, 4)),
    "Shift": ({"rows": 1, "columns": -1}, (2, 6, 6, 2)),
    "SpectralConv1D": (_CONV, (2, 6, 2)),
    "SpectralConv2D": (_CONV, (2, 6, 6, 2)),
    "SpectralConv3D": (_CONV, (2, 6, 6, 6, 2)),
    "SpectralDense": ({"units": 3}, (2, 4)),
    "StaticHyperConv2D": (_CONV, (2, 6, 6, 2)),
    "VBLLDense": ({"units": 3}, (2, 4)),
}

# Name of a public callable -> a function that gives good arguments.
GOOD: dict[str, Callable[[], dict]] = {
    "variational.Variational": lambda: {"model": plain(), "num_examples": 8},
    "variational.KeptWeights": lambda: {
        "model": plain(),
        "weight_sets": [[x + i for x in plain().get_weights()] for i in (1, 2)],
    },
    "variational.KeptWeights.with_coefficients": lambda: {
        "self": tfhyper.KeptWeights(
            plain(), [[x + i for x in plain().get_weights()] for i in (1, 2)]
        ),
        "coefficients": "gaussian",
    },
    "variational.KeptWeights.widened": lambda: {
        "self": tfhyper.KeptWeights(
            tfhyper.Variational(plain(), num_examples=8),
            [tfhyper.Variational(plain(), num_examples=8).get_weights()],
        ),
        "factor": 0.5,
    },
    "variational.Variational.widened": lambda: {
        "self": tfhyper.Variational(plain(), num_examples=8),
        "factor": 0.5,
    },
    "variational.SWAGPosterior.widened": lambda: {
        "self": variational.SWAGPosterior(
            plain(),
            plain().get_weights(),
            [np.ones(x.shape) for x in plain().get_weights()],
        ),
        "factor": 0.5,
    },
    "variational.SWAGPosterior": lambda: {
        "model": plain(),
        "mean": plain().get_weights(),
        "variance": [np.ones(x.shape) for x in plain().get_weights()],
    },
    "variational.WeightNoise": lambda: {
        "size": 3,
        "effective_sample_size": 50.0,
        "weight_decay": 0.5,
        "initial_curvature": 1.5,
    },
    **dict.fromkeys(
        ("convert", "conversion_report"),
        lambda: {
            "model": plain(),
            "kit": "hyper",
            "keep": ["logits"],
            "where": keras.layers.Dense,
        },
    ),
    # The last layer.
    "laplace.Laplace": lambda: {"model": plain()},
    "laplace.Laplace.fit": lambda: {
        "self": tfhyper.Laplace(plain()),
        **_PREDICTED,
        "y": LABELS,
    },
    "laplace.Laplace.fit_prior_precision": lambda: {
        "self": fitted_laplace(),
        **_PREDICTED,
        "method": "validation",
        "y": LABELS,
        "grid": [0.1, 1.0],
    },
    "laplace.Laplace.predictor": lambda: {"self": fitted_laplace(), "num_draws": 2},
    "laplace.MarginalDense": lambda: {"units": 3, "covariance": "shared"},
    # Analyses.
    "analysis.complexity": lambda: {"model": plain()},
    "analysis.detection_plot": lambda: {"table": detected()},
    "analysis.foreign_score_plot": lambda: {
        "known": UNCERTAINTY,
        "foreign": {"far": 2 * UNCERTAINTY},
    },
    "analysis.complexity_plot": lambda: {"found": analysis.complexity(plain())},
    "analysis.correlation_plot": lambda: {"correlations": {"a": _correlation()}},
    "analysis.coverage_plot": lambda: {
        "curves": {"a": metrics.coverage_curve(**_GAUSSIAN)}
    },
    "analysis.error_curve": lambda: {
        "labels": LABELS,
        "members": MEMBERS,
        "sizes": [1, 2, 4],
    },
    "analysis.error_curve_plot": lambda: {
        "curves": {"a": analysis.error_curve(LABELS, MEMBERS)}
    },
    "analysis.extreme_examples": lambda: {
        "images": IMAGES,
        "labels": LABELS,
        "prediction_mean": PROBS,
        "uncertainty": UNCERTAINTY,
        "class_names": ["a", "b", "c"],
        "num": 2,
    },
    "analysis.fault_plot": lambda: {
        "table": analysis.fault_table(LABELS, {"a": MEMBERS})
    },
    "analysis.fault_table": lambda: {"labels": LABELS, "members": {"a": MEMBERS}},
    "analysis.hidden_units_plot": lambda: {"errors": {"a": ([8, 16], [0.2, 0.1])}},
    "analysis.pit_plot": lambda: {
        "histograms": {"a": metrics.pit_histogram(UNCERTAINTY)}
    },
    "analysis.reliability_diagram": lambda: _LABELLED,
    "analysis.prediction_plot": lambda: {
        "prediction": predictor().predict(INPUTS, verbose=0),
        "image": IMAGES[0],
        "names": ["a", "b", "c"],
        "title": "One",
    },
    "analysis.segmentation_map": lambda: {
        "images": IMAGES,
        "labels": MAP_LABELS,
        "prediction": _prediction_map_predictor(),
        "class_names": ["a", "b", "c"],
    },
    "analysis.sparsification_plot": lambda: {
        "curves": {"a": metrics.sparsification_curve(UNCERTAINTY, VARIANCE)}
    },
    "analysis.training_curves": lambda: {"history": {"loss": [1.0, 0.5]}},
    "analysis.uncertainty_error_plot": lambda: _GAUSSIAN,
    "analysis.uncertainty_map": lambda: {
        "members": MEMBERS,
        "x1": [0.0, 1.0, 2.0],
        "x2": [0.0, 1.0],
        "points": RNG.normal(size=(6, 2)),
        "labels": LABELS,
    },
    "analysis.weight_correlation": lambda: {
        "model": bayesian(),
        "num_pairs": 5,
        "num_draws": 10,
    },
    "analysis.weight_pair_plot": lambda: {"first": TARGETS, "second": MEAN},
    "analysis.weight_pairs": lambda: {"model": bayesian(), "num_draws": 10},
    # Data.
    "data.check_table": lambda: {"x": TABLE[:, :2], "y": TABLE[:, 2]},
    "data.fold_rows": lambda: {"num_rows": 20, "num_folds": 5, "seed": 0},
    "data.load": lambda: {
        "name": "fashion_mnist_small",
        "train_examples": 20,
        "test_examples": 10,
        "batch_size": 5,
        "mean": [0.3],
        "std": [0.4],
    },
    "data.load_arrays": lambda: {
        "name": "fashion_mnist_small",
        "train_examples": 20,
        "test_examples": 10,
        "mean": [0.3],
        "std": [0.4],
    },
    "data.load_segmentation": lambda: {
        **saved_pairs(),
        "num_classes": 3,
        "ignore_class": 255,
        "mean": [0.3, 0.3, 0.3],
        "std": [0.4, 0.4, 0.4],
    },
    "data.load_super_resolution": lambda: {
        "images_dir": saved_pairs()["images_dir"],
        "patch": 2,
    },
    "data.load_table": lambda: {"path": saved_table()},
    "data.picture_pairs": lambda: {"images_dir": saved_pairs()["images_dir"]},
    "data.read_picture": lambda: {
        "path": os.path.join(saved_pairs()["images_dir"], "0.png")
    },
    "data.reduce_picture": lambda: {"picture": np.ones((4, 6, 3), "uint8")},
    "data.repeat_batches": lambda: {"data": batches(), "members": 2},
    "data.median_frequency_weights": lambda: {
        "labels": MAP_LABELS,
        "num_classes": 3,
    },
    "data.ArrayBatches": lambda: {
        "x": IMAGES,
        "y": np.zeros(len(IMAGES)),
        "batch_size": 2,
    },
    "data.ArrayBatches.train_from": lambda: {
        "self": data.ArrayBatches(IMAGES, np.zeros(len(IMAGES)), 2),
        "epoch": 1,
    },
    "data.encode_texts": lambda: {"texts": ["ab"], "alphabet": "abc", "length": 4},
    "data.language_names": lambda: {"languages": ["de", "fr"]},
    "data.written_dates": lambda: {"languages": ["de", "fr"], "count": 3},
    "data.GANBatches": lambda: {
        "images": IMAGES,
        "batch_size": 2,
        "labelled": IMAGES,
        "labels": np.zeros(len(IMAGES), int),
    },
    "data.GANBatches.train_from": lambda: {
        "self": data.GANBatches(IMAGES, 2),
        "epoch": 1,
    },
    "data.Data.with_class_weights": lambda: {
        "self": data.load_segmentation(**saved_pairs(), num_classes=3)
    },
    "data.Data.without_classes": lambda: {
        "self": data.load_segmentation(
            **saved_pairs(),
            num_classes=3,
            ignore_class=255,
            class_names=("a", "b", "c"),
        ),
        "names": ["a"],
    },
    "data.split_rows": lambda: {"num_rows": 20, "seed": 0},
    "data.standardization": lambda: {"values": TABLE},
    "data.Data.epoch": lambda: {"self": embedded(), "epoch": 1},
    "data.Data.train_from": lambda: {"self": embedded(), "epoch": 1},
    "data.DatasetSpec.with_image_size": lambda: {
        "self": data.DATASETS["imagenet2012"],
        "image_size": 64,
    },
    "data.Standardization.apply": lambda: {
        "self": data.standardization(TABLE),
        "values": TABLE,
    },
    "data.Standardization.undo": lambda: {
        "self": data.standardization(TABLE),
        "values": TABLE,
    },
    # Export.
    "export.Preprocessing": lambda: {"mean": [0.3, 0.4], "std": [0.3, 0.4]},
    "export.litert": _exported(".tflite"),
    "export.onnx": _exported(".onnx"),
    "export.openvino": _exported(""),
    "export.saved_model": _saved_model,
    # Heads.
    **dict.fromkeys(
        (
            "heads.Laplace",
            "heads.LaplaceHead",
            "heads.NegativeBinomial",
            "heads.NegativeBinomialHead",
            "heads.Normal",
            "heads.NormalHead",
            "heads.Poisson",
            "heads.PoissonHead",
            "heads.StudentT",
            "heads.StudentTHead",
        ),
        dict,
    ),
    "heads.VBLLRegression": lambda: {"units": 2},
    **dict.fromkeys(
        ("heads.Categorical", "heads.CategoricalHead"), lambda: {"classes": 3}
    ),
    **dict.fromkeys(
        ("heads.NormalMixture", "heads.MixtureHead"), lambda: {"components": 2}
    ),
    **dict.fromkeys(
        (
            "heads.BetaNLL",
            "heads.CRPS",
            "heads.DistributionHead",
            "heads.NegativeLogLikelihood",
        ),
        lambda: {"family": heads.Normal()},
    ),
    "heads.DrawMixture": lambda: {
        "family": heads.Normal(),
        "parameters": np.stack([SAMPLES, np.ones_like(SAMPLES)], axis=-1),
    },
    "heads.DrawMixture.cdf": lambda: {"self": _mixture(), "values": TARGETS},
    "heads.DrawMixture.crps": lambda: {"self": _mixture(), "targets": TARGETS},
    "heads.DrawMixture.interval": lambda: {"self": _mixture(), "level": 0.9},
    "heads.DrawMixture.log_prob": lambda: {"self": _mixture(), "targets": TARGETS},
    "heads.DrawMixture.pit": lambda: {"self": _mixture(), "targets": TARGETS},
    "heads.DrawMixture.quantile": lambda: {"self": _mixture(), "level": 0.5},
    "heads.DrawMixture.sample": lambda: {"self": _mixture(), "num_samples": 3},
    # Kits.
    "kits.LayerKit": dict,
    "kits.bayes": lambda: {"num_examples": 100},
    "kits.bayes_lora": lambda: {"num_examples": 100},
    "kits.bayesian_hypernet": lambda: {"num_examples": 100},
    "kits.concrete_dropout": lambda: {"num_examples": 100},
    "kits.deterministic": dict,
    "kits.drop_connect": dict,
    "kits.get": lambda: {"kit": "hyper"},
    "kits.hyper": dict,
    "kits.mc_dropout": dict,
    "kits.mnf": lambda: {"num_examples": 100},
    "kits.rank_one": lambda: {"posterior": "gaussian", "num_examples": 100},
    "kits.sngp": lambda: {"num_examples": 100},
    "kits.static_hypernet": dict,
    "kits.subspace": lambda: {"kind": "simplex", "corners": 3},
    "kits.variational_dropout": lambda: {"num_examples": 100},
    "kits.vbll": lambda: {"num_examples": 100},
    # Layers.
    **{
        f"layers.{name}": functools.partial(dict, good)
        for name, (good, _) in LAYERS.items()
    },
    **dict.fromkeys(
        (
            "layers.GaussianPosterior",
            "layers.GeneratedPosterior",
            "layers.VariablePosterior",
        ),
        dict,
    ),
    "layers.BernoulliPosterior": lambda: {"rate": 0.5},
    "layers.SubspacePosterior": lambda: {"kind": "simplex", "corners": 3},
    "layers.give_role": lambda: {"role": "posterior", "variables": _variables()},
    "layers.role_of": lambda: {"variable": _variables()[0]},
    "layers.scale_mixture": dict,
    "layers.variational_layers": lambda: {"model": bayesian()},
    # Metrics.
    "metrics.BrierScore": dict,
    "metrics.BrierScore.update_state": lambda: {
        "self": metrics.BrierScore(),
        "y_true": LABELS,
        "y_pred": PROBS,
        "sample_weight": UNCERTAINTY,
    },
    "metrics.ClassificationScores": dict,
    "metrics.ClassificationScores.update": lambda: {
        "self": metrics.ClassificationScores(),
        **_LABELLED,
    },
    "metrics.ExpectedCalibrationError": dict,
    "metrics.ExpectedCalibrationError.update_state": lambda: {
        "self": metrics.ExpectedCalibrationError(),
        "y_true": LABELS,
        "y_pred": PROBS,
        "sample_weight": UNCERTAINTY,
    },
    "metrics.aurc": lambda: {"losses": VARIANCE, "uncertainty": UNCERTAINTY},
    "metrics.augrc": lambda: {"losses": VARIANCE, "uncertainty": UNCERTAINTY},
    "metrics.coverage_at_risk": lambda: {
        "losses": VARIANCE,
        "uncertainty": UNCERTAINTY,
    },
    "metrics.risk_at_coverage": lambda: {
        "losses": VARIANCE,
        "uncertainty": UNCERTAINTY,
    },
    "metrics.calibration_error": lambda: _LABELLED,
    "metrics.calibration_test": lambda: _LABELLED,
    "metrics.smooth_calibration_error": lambda: _LABELLED,
    "metrics.ause": lambda: {"losses": VARIANCE, "uncertainty": UNCERTAINTY},
    "metrics.best_constant_variance": lambda: _TARGETS,
    "metrics.MultilabelScores": dict,
    "metrics.MultilabelScores.update": lambda: {
        "self": metrics.MultilabelScores(),
        "labels": _ONES,
        "probs": PROBS,
    },
    "metrics.binary_report": lambda: {
        "labels": _ONES[:, 0],
        "probs": PROBS[:, 0],
        "threshold": 0.2,
    },
    "metrics.boundary_f1": lambda: {**_MAPS, "num_classes": 3},
    "metrics.brier_score": lambda: _LABELLED,
    "metrics.class_accuracy": lambda: {"matrix": np.eye(3)},
    "metrics.class_mean": lambda: {"scores": UNCERTAINTY},
    "metrics.classification_report": lambda: {"labels": LABELS, "probs": MEMBERS},
    "metrics.confusion_matrix": lambda: {**_MAPS, "num_classes": 3},
    "metrics.covariance_decomposition": lambda: {"members": MEMBERS},
    "metrics.coverage_curve": lambda: {**_GAUSSIAN, "levels": [0.5, 0.9]},
    "metrics.crps_gaussian": lambda: _GAUSSIAN,
    "metrics.crps_mixture": lambda: {
        "targets": TARGETS,
        "means": SAMPLES,
        "variances": VARIANCE,
    },
    "metrics.crps_samples": lambda: {"targets": TARGETS, "samples": SAMPLES},
    "metrics.dice_score": lambda: {"matrix": np.eye(3)},
    "metrics.disagreement": lambda: {"members": MEMBERS},
    "metrics.error": lambda: _LABELLED,
    "metrics.excess_aurc": lambda: {"losses": VARIANCE, "uncertainty": UNCERTAINTY},
    "metrics.expected_calibration_error": lambda: _LABELLED,
    "metrics.expected_entropy": lambda: {"members": MEMBERS},
    "metrics.fault_counts": lambda: {"labels": LABELS, "members": MEMBERS},
    "metrics.fit_noise_variance": lambda: {"targets": TARGETS, "members": SAMPLES},
    "metrics.gaussian_interval": lambda: {"mean": MEAN, "variance": VARIANCE},
    "metrics.gaussian_log_likelihood": lambda: _GAUSSIAN,
    "metrics.intersection_over_union": lambda: {"matrix": np.eye(3)},
    "metrics.interval_coverage": lambda: {
        "targets": TARGETS,
        "interval": (MEAN - 1.0, MEAN + 1.0),
    },
    "metrics.interval_width": lambda: {"interval": (MEAN - 1.0, MEAN + 1.0)},
    "metrics.label_scores": lambda: {
        "labels": _ONES,
        "probs": PROBS,
        "threshold": 0.2,
    },
    "metrics.misclassification_detection": lambda: {
        **_LABELLED,
        "uncertainty": UNCERTAINTY,
    },
    "metrics.multilabel_report": lambda: {"labels": _ONES, "probs": PROBS},
    "metrics.mutual_information": lambda: {"members": MEMBERS},
    "metrics.negative_log_likelihood": lambda: _LABELLED,
    "metrics.NegativeLogLikelihood": dict,
    "metrics.NegativeLogLikelihood.update_state": lambda: {
        "self": metrics.NegativeLogLikelihood(),
        "y_true": LABELS,
        "y_pred": PROBS,
        "sample_weight": UNCERTAINTY,
    },
    "metrics.NormalCRPS": dict,
    "metrics.NormalCRPS.update_state": lambda: {
        "self": metrics.NormalCRPS(),
        "y_true": TARGETS,
        "y_pred": np.stack([MEAN, VARIANCE], axis=-1),
        "sample_weight": UNCERTAINTY,
    },
    "metrics.NormalCoverage": dict,
    "metrics.NormalCoverage.update_state": lambda: {
        "self": metrics.NormalCoverage(),
        "y_true": TARGETS,
        "y_pred": np.stack([MEAN, VARIANCE], axis=-1),
        "sample_weight": UNCERTAINTY,
    },
    "metrics.NormalNegativeLogLikelihood": dict,
    "metrics.NormalNegativeLogLikelihood.update_state": lambda: {
        "self": metrics.NormalNegativeLogLikelihood(),
        "y_true": TARGETS,
        "y_pred": np.stack([MEAN, VARIANCE], axis=-1),
        "sample_weight": UNCERTAINTY,
    },
    "metrics.normalized_score": lambda: {
        "score": 0.5,
        "constant": 1.0,
        "optimal": 0.1,
    },
    "metrics.normalized_softplus": lambda: {"logits": RNG.normal(size=(6, 3))},
    "metrics.ood_detection": lambda: {
        "scores_in": UNCERTAINTY,
        "scores_out": VARIANCE,
    },
    "metrics.optimal_crps": lambda: _TARGETS,
    "metrics.optimal_log_likelihood": lambda: _TARGETS,
    "metrics.patch_counts": lambda: {
        **_MAPS,
        "num_classes": 3,
        "uncertainty": UNCERTAINTY.reshape(1, 2, 3),
        "thresholds": [0.2, 0.5],
        "patch_size": 2,
    },
    "metrics.pit_coverage_curve": lambda: {"pit": UNCERTAINTY, "levels": [0.5, 0.9]},
    "metrics.pit_histogram": lambda: {"pit": UNCERTAINTY},
    "metrics.pit_mixture": lambda: {
        "targets": TARGETS,
        "means": SAMPLES,
        "variances": VARIANCE,
    },
    "metrics.pit_samples": lambda: {"targets": TARGETS, "samples": SAMPLES},
    "metrics.pixel_accuracy": lambda: {"matrix": np.eye(3)},
    "metrics.predictive_entropy": lambda: {"members": MEMBERS},
    "metrics.predictive_log_likelihood": lambda: _REGRESSION,
    "metrics.predictive_moments": lambda: {
        "members": SAMPLES,
        "noise_variance": VARIANCE,
    },
    "metrics.luma": lambda: {"images": PROBS},
    "layers.SpectralConstraint": dict,
    "metrics.frechet_distance": lambda: {"real": INPUTS, "generated": INPUTS + 1},
    "metrics.mode_count": lambda: {"predicted": LABELS, "num_classes": 3},
    "metrics.sample_precision_recall": lambda: {
        "real": INPUTS,
        "generated": INPUTS + 1,
    },
    "metrics.psnr": lambda: {"targets": IMAGES, "predicted": IMAGES / 2},
    "metrics.quantile_loss": lambda: {
        "targets": TARGETS,
        "quantiles": np.sort(SAMPLES, axis=0),
        "levels": [0.2, 0.4, 0.6, 0.8],
    },
    "metrics.regression_report": lambda: _REGRESSION,
    "metrics.RegressionScores": dict,
    "metrics.RegressionScores.update": lambda: {
        "self": metrics.RegressionScores(),
        **_REGRESSION,
    },
    "metrics.reliability_curve": lambda: _LABELLED,
    "metrics.risk_coverage_curve": lambda: {
        "losses": VARIANCE,
        "uncertainty": UNCERTAINTY,
    },
    "metrics.rmse": lambda: _TARGETS,
    "metrics.sample_interval": lambda: {"samples": SAMPLES},
    "metrics.segmentation_report": lambda: {"matrix": np.eye(3)},
    "metrics.sharpness": lambda: {"variance": VARIANCE},
    "metrics.single_draw_report": lambda: {"labels": LABELS, "members": MEMBERS},
    "metrics.sparsification_curve": lambda: {
        "losses": VARIANCE,
        "uncertainty": UNCERTAINTY,
    },
    "metrics.ssim": lambda: {
        "targets": IMAGES,
        "predicted": IMAGES / 2,
        "window": 3,
    },
    "metrics.threshold_curve": lambda: {
        "labels": _ONES[:, 0],
        "probs": PROBS[:, 0],
        "thresholds": [0.1, 0.2],
    },
    "metrics.top_k_accuracy": lambda: {**_LABELLED, "k": 2},
    "metrics.top_k_error": lambda: {**_LABELLED, "k": 2},
    "metrics.variance_decomposition": lambda: {"members": MEMBERS},
    # Networks.
    "models.alexnet": lambda: {**_SMALL, "width_multiplier": 0.1},
    "models.deeplab_cifar": lambda: {
        **_SMALL,
        "depth": 8,
        "width": 2,
        "rates": (1, 2),
    },
    "models.lenet5": lambda: _SMALL,
    "models.plain_network": lambda: {
        **_SMALL,
        "convs": [{"filters": 2, "kernel_size": 5, "pool": True}],
        "units": [4],
        "activation": "relu",
        "width_multiplier": 1.0,
        "name": "small",
    },
    "models.pyramidnet": lambda: {**_SMALL, "depth": 8, "alpha": 3.0},
    "models.residual_network": lambda: {
        **_SMALL,
        "block": _block,
        "stages": [(1, [2]), (2, [4])],
        "name": "small",
    },
    "models.resnet": lambda: {
        **_SMALL,
        "stage_blocks": (1, 1),
        "width_multiplier": 0.1,
    },
    "models.resnet_cifar": lambda: {**_SMALL, "depth": 8},
    "models.resnext": lambda: {
        **_SMALL,
        "depth": 11,
        "cardinality": 2,
        "base_width": 16,
        "width_multiplier": 0.1,
    },
    "models.dcgan_discriminator": lambda: {
        "width": 2,
        "input_shape": (8, 8, 1),
    },
    "models.dcgan_generator": lambda: {
        "width": 2,
        "image_shape": (8, 8, 1),
        "latent_dim": 3,
    },
    "models.segnet": lambda: {
        **_SMALL,
        "stage_convs": (1, 1),
        "width_multiplier": 0.02,
    },
    "models.edsr": lambda: {**_PICTURES, "blocks": 1, "width": 2},
    "models.espcn": lambda: _PICTURES,
    "models.unet": lambda: {**_SMALL, "depth": 1, "width": 2},
    "models.wide_resnet": lambda: {**_SMALL, "depth": 10, "width": 1},
    # Posteriors.
    "posterior.predict_tiles": lambda: {
        "predictor": enlarger(),
        "picture": IMAGES[0],
        "overlap": 1,
        "tile": 4,
    },
    "posterior.PosteriorPredictor": _posterior(),
    "posterior.PosteriorPredictor.estimate_batch_norm": lambda: {
        "self": fresh_predictor(),
        "inputs": INPUTS,
        "batch_size": 3,
        "verbose": 0,
    },
    "posterior.PosteriorPredictor.predict_labelled": lambda: {
        "self": predictor(),
        **_PREDICTED,
        "y": LABELS,
        "keep_members": True,
    },
    "posterior.PosteriorPredictor.evaluate": lambda: {
        "self": predictor(),
        **_PREDICTED,
        "y": LABELS,
    },
    "posterior.PosteriorPredictor.fit_noise": lambda: {
        "self": regressor(),
        **_PREDICTED,
        "y": TARGETS,
    },
    "posterior.PosteriorPredictor.load": lambda: {"path": saved_predictor()},
    "posterior.PosteriorPredictor.materialize": lambda: {"self": predictor()},
    "posterior.PosteriorPredictor.materialize_average": lambda: {"self": predictor()},
    "posterior.PosteriorPredictor.parameters": lambda: {"self": predictor()},
    "posterior.PosteriorPredictor.predict_batches": lambda: {
        "self": predictor(),
        **_PREDICTED,
    },
    "posterior.PosteriorPredictor.predict": lambda: {
        "self": predictor(),
        **_PREDICTED,
    },
    "posterior.PosteriorPredictor.predict_anytime": lambda: {
        "self": predictor(),
        **_PREDICTED,
    },
    "posterior.PosteriorPredictor.save": lambda: {
        "self": predictor(),
        "path": os.path.abspath("new.tfhyper"),
    },
    "posterior.PosteriorPredictor.summary": lambda: {"self": predictor()},
    "posterior.PosteriorPredictor.fit_rejection": lambda: {
        "self": fresh_predictor(),
        **_PREDICTED,
        "y": LABELS,
        "coverage": 0.5,
    },
    "posterior.DeepEnsemble.fit_rejection": lambda: {
        "self": fresh_ensemble(),
        **_PREDICTED,
        "y": LABELS,
        "coverage": 0.5,
    },
    "posterior.PosteriorPredictor.fit_width": lambda: {
        "self": tfhyper.PosteriorPredictor(
            tfhyper.Variational(normalized(), num_examples=8), 2
        ),
        **_PREDICTED,
        "y": LABELS,
        "moments": INPUTS,
    },
    **{
        f"posterior.{kind}.fit_scaling": lambda make=make: {
            "self": make(),
            **_PREDICTED,
            "y": LABELS,
        }
        for kind, make in (
            ("PosteriorPredictor", fresh_predictor),
            ("DeepEnsemble", fresh_ensemble),
        )
    },
    **{
        f"posterior.{kind}.fit_conformal": lambda make=make: {
            "self": make(),
            **_PREDICTED,
            "y": LABELS,
            "alpha": 0.5,
            "method": "raps",
        }
        for kind, make in (
            ("PosteriorPredictor", fresh_predictor),
            ("DeepEnsemble", fresh_ensemble),
        )
    },
    "conformal.ConformalIntervals": lambda: {
        "alpha": 0.1,
        "thresholds": [[1.0, 2.0]] * 2,
        "groups": ("a", "b"),
    },
    "conformal.ConformalSets": lambda: {
        "alpha": 0.1,
        "thresholds": [[0.5, 0.6, 0.7]] * 2,
        "groups": ("a", "b"),
        "score": "raps",
    },
    "conformal.conformal_intervals": lambda: {
        "predictor": regressor(),
        **_PREDICTED,
        "y": TARGETS,
        "alpha": 0.5,
        "groups": np.zeros(6, int),
    },
    "conformal.conformal_sets": lambda: {
        "predictor": predictor(),
        **_PREDICTED,
        "y": LABELS,
        "alpha": 0.5,
        "score": "raps",
        "randomized": True,
        "seed": 1,
        "groups": np.zeros(6, int),
    },
    "conformal.fit_intervals": lambda: {
        "targets": TARGETS,
        "prediction": regressor().predict(INPUTS),
        "alpha": 0.5,
        "groups": np.zeros(6, int),
    },
    "conformal.fit_sets": lambda: {
        "labels": LABELS,
        "probs": PROBS,
        "alpha": 0.5,
        "score": "raps",
        "randomized": True,
        "seed": 1,
        "groups": np.zeros(6, int),
    },
    "conformal.least_examples": lambda: {"alpha": 0.1},
    "conformal.map_probabilities": lambda: {"predictor": map_predictor()},
    **{f"detection.{kind.__name__}": dict for kind in detection.SCORERS.values()},
    "detection.DDU": dict,
    "detection.DDU.fit": lambda: {"self": detection.DDU(), **_KNOWN},
    "detection.DDU.predict": lambda: {"self": ddu(), **_PREDICTED},
    "detection.DDU.threshold": lambda: {
        "self": ddu(),
        "x_val": INPUTS,
        "batch_size": 4,
        "verbose": 0,
    },
    "detection.DDUPrediction.reject": lambda: {
        "self": ddu().predict(INPUTS),
        "threshold": 0.5,
        "score": "total",
    },
    "detection.Scorer.fit": lambda: {
        "self": detection.Mahalanobis(shrinkage=None),
        **_KNOWN,
    },
    "detection.Scorer.score": lambda: {"self": scorer(), **_PREDICTED},
    "detection.Scorer.save": lambda: {
        "self": scorer(),
        "path": os.path.abspath("new.npz"),
    },
    "detection.Scorer.threshold": lambda: {
        "self": scorer(),
        "x_val": INPUTS,
        "batch_size": 4,
        "verbose": 0,
    },
    **{
        f"detection.{kind}.of_logits": lambda kind=kind: {
            "self": getattr(detection, kind)(),
            "logits": np.log(PROBS),
        }
        for kind in ("Energy", "MaxLogit")
    },
    **{
        f"detection.{kind}.of_members": lambda: {"members": MEMBERS}
        for kind in ("Disagreement", "Entropy", "MaxProbability", "MutualInformation")
    },
    "detection.load": lambda: {"path": saved_scorer(), "predictor": predictor()},
    "detection.table": lambda: {
        "predictor": predictor(),
        "test": INPUTS,
        "far": {"far": 9 * INPUTS},
        "near": {"near": INPUTS},
        "scorers": ["entropy", detection.Mahalanobis(shrinkage=None)],
        "train": (INPUTS, LABELS),
        "num_samples": 2,
        "verbose": 0,
    },
    "analysis.comparison_plot": lambda: {"table": compared()},
    "comparison.evaluate": lambda: {
        "predictors": {"one": predictor()},
        "test": (INPUTS, LABELS),
        "foreign": {"far": 9 * INPUTS},
        "shifted": {"loud": {1: 2 * INPUTS}},
        "calibration": (INPUTS, LABELS),
        "costs": {"one": 1.0},
        "num_samples": 2,
        "timed_batches": 1,
        "verbose": 0,
    },
    "shift.Corruption": lambda: {
        "group": "noise",
        "apply": lambda image, number, rng: number * image,
        "small": (0.9,) * 5,
        "large": (0.9,) * 5,
    },
    "shift.corrupt": lambda: {"images": PICTURES, "kind": "fog", "severity": 2},
    "shift.corruptions": lambda: {
        "images": PICTURES,
        "kinds": ["fog"],
        "severities": [1],
        "prepare": np.square,
    },
    "shift.shift_table": lambda: {
        "x": TABLE,
        "y": TABLE[:, 0],
        "kind": "noise",
        "reference": TABLE,
    },
    "shift.table_shifts": lambda: {
        "x": TABLE,
        "y": TABLE[:, 0],
        "kinds": ["noise"],
        "severities": [1],
        "reference": TABLE,
    },
    "scaling.fit": lambda: {
        "labels": LABELS,
        "probs": PROBS,
        "sample_weight": np.ones(len(LABELS)),
    },
    "scaling.Temperature": lambda: {"temperature": 2.0},
    "scaling.Vector": lambda: {"weights": np.ones(3), "biases": np.zeros(3)},
    "scaling.Matrix": lambda: {"weights": np.eye(3), "biases": np.zeros(3)},
    "scaling.Platt": lambda: {"slopes": np.ones(3), "intercepts": np.zeros(3)},
    "scaling.Isotonic": lambda: {
        "thresholds": np.array([[0.1, 0.2]] * 3),
        "values": np.array([[0.1, 0.2]] * 3),
    },
    "scaling.Histogram": lambda: {"values": np.array([[0.1, 0.2]] * 3)},
    "posterior.Prediction.reject": lambda: {
        "self": predictor().predict(INPUTS),
        "threshold": 0.5,
    },
    "posterior.Prediction.plot": lambda: {
        "self": predictor().predict(INPUTS),
        "image": IMAGES[0],
        "names": ["a", "b", "c"],
    },
    "posterior.Prediction.take": lambda: {
        "self": predictor().predict(INPUTS),
        "examples": [0, 2],
    },
    "posterior.Prediction.uncertainty": lambda: {
        "self": predictor().predict(INPUTS),
        "score": "total",
    },
    "posterior.Prediction.selective_scores": lambda: {
        "self": predictor().predict(INPUTS).reject(0.5),
        "labels": LABELS,
    },
    "posterior.DistributionPrediction.reject": lambda: {
        "self": heteroscedastic().predict(INPUTS),
        "threshold": 0.5,
    },
    "posterior.DistributionPrediction.uncertainty": lambda: {
        "self": heteroscedastic().predict(INPUTS),
        "score": "total",
    },
    "posterior.DistributionPrediction.interval": lambda: {
        "self": heteroscedastic().predict(INPUTS)
    },
    "posterior.DistributionPrediction.selective_scores": lambda: {
        "self": heteroscedastic().predict(INPUTS).reject(0.5),
        "targets": TARGETS,
    },
    "posterior.LabelsPrediction.reject": lambda: {
        "self": tagger().predict(INPUTS),
        "threshold": 0.5,
    },
    "posterior.LabelsPrediction.uncertainty": lambda: {
        "self": tagger().predict(INPUTS),
        "score": "total",
    },
    "posterior.LabelsPrediction.labels_above": lambda: {
        "self": tagger().predict(INPUTS),
        "threshold": 0.5,
    },
    "posterior.LabelsPrediction.selective_scores": lambda: {
        "self": tagger().predict(INPUTS).reject(0.5),
        "labels": tagger().predict(INPUTS).label,
    },
    "posterior.RegressionPrediction.covariance": lambda: {
        "self": regressor().predict(INPUTS)
    },
    "posterior.RegressionPrediction.reject": lambda: {
        "self": regressor().predict(INPUTS),
        "threshold": 0.5,
    },
    "posterior.RegressionPrediction.uncertainty": lambda: {
        "self": regressor().predict(INPUTS),
        "score": "total",
    },
    "posterior.RegressionPrediction.selective_scores": lambda: {
        "self": regressor().predict(INPUTS).reject(0.5),
        "targets": TARGETS,
    },
    "posterior.Rejection": lambda: {"threshold": 0.5},
    "metrics.rejection_threshold": lambda: {
        "uncertainty": UNCERTAINTY,
        "coverage": 0.5,
        "sample_weight": np.ones(len(UNCERTAINTY)),
    },
    "training.PosteriorTensorBoard": lambda: {
        "log_dir": os.path.abspath("logs"),
        "validation_data": (INPUTS, LABELS),
        "train_inputs": INPUTS,
    },
    "training.PosteriorValidation": lambda: {
        "validation_data": (INPUTS, LABELS),
        "train_inputs": INPUTS,
    },
    "metrics.selective_report": lambda: {
        "labels": LABELS,
        "probs": PROBS,
        "rejected": np.arange(len(LABELS)) > 1,
    },
    "posterior.DeepEnsemble": lambda: {"models": [plain(), plain()]},
    "posterior.DeepEnsemble.estimate_batch_norm": lambda: {
        "self": fresh_ensemble(batch_norm="reestimate"),
        "inputs": INPUTS,
        "batch_size": 3,
        "verbose": 0,
    },
    "posterior.DeepEnsemble.predict_labelled": lambda: {
        "self": ensemble(),
        **_PREDICTED,
        "y": LABELS,
        "keep_members": True,
    },
    "posterior.DeepEnsemble.evaluate": lambda: {
        "self": ensemble(),
        **_PREDICTED,
        "y": LABELS,
    },
    "posterior.DeepEnsemble.fit_noise": lambda: {
        "self": regression_ensemble(),
        **_PREDICTED,
        "y": TARGETS,
    },
    "posterior.DeepEnsemble.load": lambda: {"path": saved_ensemble()},
    "posterior.DeepEnsemble.materialize": lambda: {"self": ensemble()},
    "posterior.DeepEnsemble.materialize_average": lambda: {"self": ensemble()},
    "posterior.DeepEnsemble.predict": lambda: {"self": ensemble(), **_PREDICTED},
    "posterior.DeepEnsemble.predict_batches": lambda: {
        "self": ensemble(),
        **_PREDICTED,
    },
    "posterior.DeepEnsemble.predict_anytime": lambda: {
        "self": ensemble(),
        **_PREDICTED,
    },
    "posterior.DeepEnsemble.save": lambda: {
        "self": ensemble(),
        "path": os.path.abspath("new.tfhyper"),
    },
    "posterior.PointNetwork": lambda: {"model": bayesian()},
    "posterior.Prediction.covariance": lambda: {"self": predictor().predict(INPUTS)},
    "posterior.RegressionPrediction.interval": lambda: {
        "self": regressor().predict(INPUTS)
    },
    # Pruning.
    "pruning.filters_that_stay": lambda: {"model": images_model(), "keep": ["conv"]},
    "pruning.prune": lambda: {
        "model": bayesian(),
        "fraction": 0.5,
        "keep": ["block2"],
    },
    "pruning.prune_filters": lambda: {
        "model": images_model(),
        "fraction": 0.5,
        "keep": ["logits"],
    },
    "pruning.report": lambda: {
        "before": bayesian(),
        "after": bayesian(),
        "calibration": INPUTS,
        "x": INPUTS,
        "y": LABELS,
        "num_draws": 2,
        "batch_size": 4,
    },
    # Training.
    "training.BlundellKL": dict,
    "training.BlundellKL.factor": lambda: {
        "self": training.BlundellKL(),
        "epoch": 0,
        "batch": 1,
        "steps": 5,
    },
    "training.CoupledDecayAdam": dict,
    "training.CoupledDecaySGD": dict,
    "training.IVON": dict,
    "training.AveragingRate": lambda: {"learning_rate": 0.1, "start": 4},
    "training.CosineCycles": lambda: {"learning_rate": 0.1, "steps": 6, "cycles": 2},
    "training.GeometricRate": lambda: {
        "learning_rate": 0.1,
        "start": 4,
        "cycle_steps": 2,
    },
    "training.SGHMC": lambda: {
        "learning_rate": training.CosineCycles(0.1, 6, 2),
        "num_examples": 8,
    },
    "training.KeepWeights": dict,
    "training.Snapshots": lambda: {"cycles": 2},
    "training.FastGeometric": lambda: {"start": 2},
    "training.CyclicSGMCMC": lambda: {"cycles": 2},
    "training.WeightAverage": dict,
    "training.SWAG": dict,
    **{
        f"training.{kind}.posterior": functools.partial(_kept, kind)
        for kind in (
            "CyclicSGMCMC",
            "FastGeometric",
            "SWAG",
            "Snapshots",
            "WeightAverage",
        )
    },
    "training.KLSchedule": dict,
    "training.KLSchedule.factor": lambda: {
        "self": training.KLSchedule(),
        "epoch": 0,
        "batch": 1,
        "steps": 5,
    },
    "training.LinearKLWarmup": lambda: {"epochs": 2},
    "training.LinearKLWarmup.factor": lambda: {
        "self": training.LinearKLWarmup(2),
        "epoch": 0,
        "batch": 1,
        "steps": 5,
    },
    "training.SmoothedCrossentropy": lambda: {"label_smoothing": 0.1},
    "training.SonderbyKLWarmup": lambda: {"warmup_epochs": 2},
    "training.SonderbyKLWarmup.factor": lambda: {
        "self": training.SonderbyKLWarmup(2),
        "epoch": 0,
        "batch": 1,
        "steps": 5,
    },
    "training.Trainer": lambda: {"model": compiled()},
    "training.Trainer.evaluate": lambda: {
        "self": training.Trainer(compiled()),
        "dataset": once(),
    },
    "training.Trainer.fit": lambda: {
        "self": training.Trainer(compiled()),
        "dataset": batches(),
        "epochs": 1,
        "steps_per_epoch": 3,
        "verbose": 0,
    },
    "training.Trainer.metrics_state": lambda: {"self": training.Trainer(compiled())},
    "training.Workdir": lambda: {"path": "run", "settings": {"epochs": 1}},
    "training.Workdir.check_writable": lambda: {"self": workdir()},
    "training.Workdir.checkpoints": lambda: {"self": workdir()},
    "training.Workdir.diverged": lambda: {"self": workdir(), "what": "so"},
    "training.Workdir.file": lambda: {"self": workdir(), "name": "a.json"},
    "training.Workdir.history": lambda: {**_only_self(trained_workdir()), "epochs": 1},
    "training.Workdir.lock": lambda: {"self": workdir()},
    "training.Workdir.metrics": trained_workdir,
    "training.Workdir.newest": lambda: {"self": workdir()},
    "training.Workdir.restore": lambda: {"self": workdir()},
    "training.Workdir.save": lambda: {
        "self": workdir(),
        "model": compiled(),
        "epoch": 1,
        "history": {"loss": [1.0]},
    },
    "training.compile_adam_recipe": _recipe(),
    "training.compile_imagenet_recipe": _recipe(),
    "training.compile_recipe": _recipe(),
    "training.Recipe.compile": _recipe(self=RECIPE),
    "training.Recipe.describe": lambda: {"self": RECIPE},
    "training.Recipe.initialize": lambda: {"self": RECIPE, "model": plain(), "seed": 1},
    "training.recipe_for": lambda: {
        "network": "wide_resnet",
        "dataset": "cifar10",
        "kit": "hyper",
    },
    "training.compile_variational_recipe": lambda: {
        "model": variational(),
        "epochs": 4,
        "steps_per_epoch": 5,
    },
    "training.fit_in_workdir": lambda: {
        "workdir": workdir(),
        "build": compiled,
        "data": _Data(),
        "epochs": 1,
        "verbose": 0,
    },
    "training.for_multi_worker_fit": lambda: {"model": compiled()},
    "training.is_chief": lambda: {"strategy": training.make_strategy("none")},
    "training.kl_divergence": lambda: {"model": bayesian()},
    "training.make_strategy": lambda: {"name": "none"},
    "training.step_schedule": lambda: {
        "learning_rate": 0.1,
        "epochs": 10,
        "steps_per_epoch": 5,
    },
    "training.train_ensemble": lambda: {
        "build": lambda seed: compiled(),
        "data": lambda seed: _Data(),
        "epochs": 1,
        "num_members": 1,
        "workdir": tempfile.mkdtemp(dir="."),
        "settings": {"a": 1},
        "verbose": 0,
    },
    "training.use_fast_generator": lambda: {"model": compiled()},
}


def _variables():
    return plain().variables


def _only_self(good):
    return {"self": good["self"]}


# What is not called, and why.
RESULTS = "holds what a function of ours found; whoever makes one says what is in it"
NOT_CALLED: dict[str, str] = {
    **dict.fromkeys(
        (
            "analysis.Complexity",
            "analysis.ErrorCurve",
            "analysis.FaultTable",
            "analysis.LayerComplexity",
            "analysis.WeightCorrelation",
            "analysis.WeightPairs",
            "comparison.ComparisonTable",
            "comparison.ComparisonTable.html",
            "comparison.ComparisonTable.markdown",
            "comparison.ComparisonTable.mean_corruption",
            "comparison.ComparisonTable.plot",
            "comparison.ComparisonTable.severity_means",
            "comparison.ComparisonTable.to_dict",
            "comparison.ComparisonTable.to_json",
            "comparison.ComparisonTable.to_pandas",
            "data.Data",
            "metrics.PrecisionRecall",
            "data.DatasetSpec",
            "data.PicturePair",
            "data.Standardization",
            "data.LabelledTexts",
            "data.Table",
            "export.FileReport",
            "detection.DDUPrediction",
            "detection.DetectionTable",
            "detection.DetectionTable.markdown",
            "detection.DetectionTable.to_dict",
            "heads.Components",
            "metrics.BootstrapInterval",
            "metrics.CalibrationTest",
            "metrics.CovarianceDecomposition",
            "metrics.CoverageCurve",
            "metrics.PredictiveInterval",
            "metrics.PredictiveMoments",
            "metrics.PatchCounts",
            "metrics.PitHistogram",
            "metrics.ReliabilityCurve",
            "metrics.SparsificationCurve",
            "metrics.ThresholdCurve",
            "metrics.RiskCoverageCurve",
            "metrics.VarianceDecomposition",
            "posterior.AnytimePrediction",
            "posterior.Draw",
            "posterior.DistributionPrediction",
            "posterior.DistributionPrediction.mixture",
            "posterior.LabelsPrediction",
            "posterior.Prediction",
            "posterior.Predictions",
            "posterior.RegressionPrediction",
            "pruning.BeforeAfter",
            "pruning.LayerRow",
            "pruning.PruningReport",
            "pruning.PruningReport.to_dict",
        ),
        RESULTS,
    ),
    **dict.fromkeys(
        (
            "heads.CountFamily",
            "heads.Family",
            "heads.Head",
            "heads.LocationScale",
            "heads.RealFamily",
        ),
        "a base class",
    ),
    "detection.Scorer": "a base class",
    "detection.DDUPrediction.plot": "raises an error, whatever it is given",
    "detection.DDUPrediction.take": "the one method of all predictions",
    **{
        f"detection.{kind}.{method}": "called by scorers and predictors, with what "
        "they hold"
        for kind in ("Scorer", *(x.__name__ for x in detection.SCORERS.values()))
        for method in (
            "check_current",
            "config",
            "fit_draw",
            "fitted",
            "formula",
            "graph",
            "of",
            "of_tensors",
            "score_draw",
            "shapes",
            "state",
            "take_state",
        )
    },
    "layers.MovingAveragesWarning": "a warning",
    "scaling.CalibrationWarning": "a warning",
    "metrics.bootstrap": "takes any score and arrays: tests/metrics/test_resampling.py",
    "scaling.Scaling": "a base class",
    "conformal.ConformalRule": "a base class",
    **{
        f"conformal.{kind}.{method}": "called by predictors, with what they hold"
        for kind in ("ConformalIntervals", "ConformalRule", "ConformalSets")
        for method in (
            "in_words",
            "of_moments",
            "of_probabilities",
            "rows_for",
            "to_json",
        )
    },
    **{
        f"scaling.{kind}.{method}": "called by predictors, with what they hold"
        for kind in ("Scaling", *tfhyper.scaling.__all__)
        for method in (
            "check_classes",
            "chosen_by",
            "in_words",
            "of_each",
            "of_log_probabilities",
            "of_probabilities",
            "joined",
            "to_json",
        )
    },
    "layers.NoiseKind": "an enumeration",
    "layers.StochasticLayer": "a base class without arguments",
    **{
        f"posterior.{kind}.{method}": "the one method of all predictions"
        for kind in (
            "AnytimePrediction",
            "DistributionPrediction",
            "LabelsPrediction",
            "RegressionPrediction",
        )
        for method in ("plot", "take")
    },
    "training.PosteriorTensorBoard.evaluate": "called at the end of epochs",
    "training.PosteriorValidation.evaluate": "called at the end of epochs",
    "posterior.Predictions.plot": "hands on to the plot of each output",
    "posterior.Rejection.rejects": "called by predictions, with what they hold",
    **dict.fromkeys(
        (
            "posterior.PosteriorPredictor.draw_settings",
            "posterior.PosteriorPredictor.networks",
            "posterior.PosteriorPredictor.runs",
            "posterior.PosteriorPredictor.weights_changed",
            "posterior.DeepEnsemble.draw_settings",
            "posterior.DeepEnsemble.networks",
            "posterior.DeepEnsemble.runs",
        ),
        "takes no arguments",
    ),
    **dict.fromkeys(
        (
            "posterior.PosteriorPredictor.of_models",
            "posterior.DeepEnsemble.of_models",
        ),
        "called by `load` and by copies, with what they hold",
    ),
    **dict.fromkeys(
        ("posterior.PosteriorPredictor.calibrate", "posterior.DeepEnsemble.calibrate"),
        "the name of before for `estimate_batch_norm`",
    ),
    "layers.VariationalLayer": "a base class without arguments",
    "training.DivergedError": "an error",
    **dict.fromkeys(
        ("training.InitialValues", "training.Preparation", "training.Recipe"),
        "holds what a study says; whoever makes one says what is in it",
    ),
    **dict.fromkeys(
        (
            "training.Preparation.load_options",
            "training.Recipe.callbacks",
            "training.Recipe.settings",
        ),
        "takes no arguments",
    ),
    "training.IVON.apply": "by Keras' training step",
    "variational.IVON": "is training.IVON",
    "variational.Variational.fit": "takes what Keras' `fit` takes",
    "variational.IVON.apply": "by Keras' training step",
    **dict.fromkeys(
        (
            "variational.Variational.check_finite",
            "variational.Variational.check_training",
            "variational.Variational.duplicate",
            *(
                f"variational.{name}.{method}"
                for name in ("KeptWeights", "SWAGPosterior")
                for method in ("arguments", "check_finite", "duplicate")
            ),
        ),
        "takes no arguments",
    ),
    **dict.fromkeys(
        ("variational.KeptWeights.empty", "variational.SWAGPosterior.empty"),
        "called by files and copies, with what they hold",
    ),
    "training.KeepWeights.posterior": "is what its subclasses have",
    "training.KeepWeights.whole": "called by `posterior`",
    "variational.WeightPosterior": "a base class without arguments",
    **dict.fromkeys(
        (
            f"training.{kind}.{method}"
            for kind in (
                "CyclicSGMCMC",
                "FastGeometric",
                "KeepWeights",
                "SWAG",
                "Snapshots",
                "WeightAverage",
            )
            for method in ("check_rate", "due", "reset", "take")
        ),
        "called in training, with what it has",
    ),
    "laplace.Laplace.log_marginal_likelihood": "takes no arguments",
    "laplace.LaplacePredictor": "made by `Laplace.predictor`, with what it checked",
    "training.WorkdirInUseError": "an error",
    "export.Preprocessing.check_shape": "called by the functions of `export`",
}
# Methods that Keras calls, or one part of this package in another, with what they
# have checked.
INNER_CLASSES = (
    "posterior.PointNetwork",
    *(f"heads.{name}" for name in heads.__all__ if name != "DrawMixture"),
    "layers.",
    "kits.LayerKit",
    # Its methods are those of `PosteriorPredictor`.
    "laplace.LaplacePredictor",
    "laplace.MarginalDense",
    "variational.WeightNoise",
    "variational.WeightPosterior",
)
INNER_METHODS = {
    "build",
    "call",
    "from_config",
    "get_config",
    "in_words",
    "on_epoch_begin",
    "on_epoch_end",
    "on_train_batch_begin",
    "on_train_begin",
    "on_train_end",
    "result",
    "to_summary",
    "update_step",
}

_LAYER = {
    "activation": bv.identifier(optional=True),
    "initial_rate": bv.number(above=0, below=1),
    "initial_scale": bv.number(above=0),
    "prior_mean": bv.choice(),
}
_FLOW = {"prior_mean": bv.number(least=0)}
_MEMBERS = {
    "posterior": bv.choice(),
    "members": bv.integer(),
    "batch": bv.choice(),
    "member_bias": bv.boolean(),
    "factor_spread": bv.number(least=0),
    "random_signs": bv.boolean(),
}
_SUBSPACE = {
    "kind": bv.choice(),
    "corners": bv.integer(2, optional=True),
    "cosine_weight": bv.number(least=0),
    "spread": bv.number(least=0),
}
_LAST_LAYER = {
    "covariance": bv.choice(),
    "inference": bv.choice(),
    "num_examples": bv.integer(),
    "momentum": bv.number(above=0, below=1),
    "num_features": bv.integer(),
    "length_scale": bv.number(above=0),
    "amplitude": bv.number(above=0),
    "ridge": bv.number(above=0),
    "mean_field_factor": bv.number(least=0),
    "norm_bound": bv.number(above=0),
    "power_iterations": bv.integer(),
    "rank": bv.integer(),
    "noise_scale": bv.number(least=0),
    "noise_prior_scale": bv.number(above=0),
    "noise_dof": bv.number(least=0),
}
_CLASS_NAMES = bv.names(
    without=("unknown",), text=bv.TEXT, length=["a"], entries=[1, 2, 3]
)
# Name of an argument -> what it may be, in whatever function.
BY_NAME: dict[str, bv.Domain] = {
    "real": bv.numbers(),
    "generated": bv.numbers(),
    "least_share": bv.number(above=0, most=1),
    "latent_dim": bv.integer(),
    "accuracy": bv.domain("share", text=bv.TEXT, negative=-0.5, one=1.0, list=[0.5]),
    "log_dir": bv.domain("log_dir", number=3, list=["logs"]),
    "mask": bv.domain("mask", text=bv.TEXT, numbers=[1.0, 2.0], shape=[True]),
    "max_value": bv.number(above=0),
    "means": bv.numbers(tied=1),
    "pit": bv.domain("pit", text=bv.TEXT, large=[0.5, 1.5], negative=[-0.5]),
    "quantiles": bv.numbers(),
    "shares": bv.domain("shares", text=bv.TEXT, sum=[0.5] * 4, shape=[1.0]),
    "variances": bv.numbers(scalar=True, least=0),
    "matrix": bv.numbers(least=0, without=("shape",)),
    "patch_size": bv.integer(),
    "points": bv.integer(),
    "predicted": bv.labels(),
    "scores": bv.domain("scores", text=bv.TEXT, empty=[], infinite=[np.inf]),
    "thresholds": bv.domain("thresholds", text=bv.TEXT, empty=[], nan=[np.nan]),
    "activation": bv.choice(),
    "activity_regularizer": bv.identifier(),
    "alpha": bv.number(above=0),
    "augment": bv.boolean(),
    "averaging": bv.choice(),
    "base_width": bv.integer(),
    "batch": bv.integer(0),
    "batch_norm": bv.choice(),
    "batch_size": bv.integer(),
    "bins": bv.choice(),
    "bias_constraint": bv.identifier(),
    "bias_initializer": bv.identifier(optional=True),
    "bias_posterior": bv.choice(),
    "bias_regularizer": bv.identifier(),
    "blocks": bv.function(),
    "build": bv.function(),
    "callbacks": bv.sequence(text=bv.TEXT, entries=[3]),
    "cardinality": bv.integer(),
    "class_names": _CLASS_NAMES,
    "code_units": bv.integer(),
    "confidence": bv.number(above=0, most=1),
    "coverage": bv.number(above=0, most=1, optional=True),
    "error": bv.number(least=0, optional=True),
    "every": bv.integer(),
    "rejected": bv.sequence(text=bv.TEXT, numbers=[1.0, 2.0], empty=[], nones=[None]),
    "rho_initializer": bv.identifier(optional=True),
    "rejection": bv.domain("rejection", text=bv.TEXT, number=3, mapping={"a": 1}),
    "train_inputs": bv.sequence(text=bv.TEXT, empty=np.zeros((0, 4), "float32")),
    "validation_data": bv.domain("validation", text=bv.TEXT, number=3),
    "constant": bv.number(),
    "constant_variance": bv.number(least=0),
    "coupled_decay": bv.number(least=0),
    "criterion": bv.choice(),
    "data_dir": bv.path(),
    "data_format": bv.choice(),
    "dataset": bv.dataset(),
    "depth": bv.integer(),
    "depth_multiplier": bv.integer(),
    "depthwise_constraint": bv.identifier(),
    "depthwise_initializer": bv.identifier(optional=True),
    "depthwise_regularizer": bv.identifier(),
    "deviation_scale": bv.number(least=0),
    "dilation_rate": bv.sizes(),
    "draw": bv.integer(0, 3),
    "draws_per_member": bv.integer(),
    "embedding_units": bv.integer(),
    "epoch": bv.integer(0),
    "epochs": bv.integer(),
    "estimator": bv.choice(),
    "factor": bv.number(least=0),
    "figure": bv.figure(),
    "filters": bv.integer(),
    "flow_width": bv.integer(),
    "fraction": bv.number(above=0, below=1),
    "generator_regularizer": bv.identifier(),
    "groups": bv.integer(),
    "hidden_units": bv.integer(),
    "history": bv.mapping(empty={}, numbers={"loss": 3}),
    "image_size": bv.integer(16, 1024),
    "initial_epoch": bv.integer(0, 1),
    "initial_scale": bv.number(above=0),
    "initial_step": bv.integer(0, 2),
    "input_shape": bv.image_shape(),
    "image_shape": bv.image_shape(),
    "inputs": bv.data(),
    "moments": bv.data(),
    "k": bv.integer(1, 3),
    "keep": bv.names(text=bv.TEXT),
    "kernel_constraint": bv.identifier(),
    "kernel_initializer": bv.identifier(optional=True),
    "kernel_regularizer": bv.identifier(),
    "kernel_size": bv.sizes(),
    "kit": bv.instance("kit"),
    "kl_weight": bv.number(least=0),
    "label_smoothing": bv.number(least=0, below=1),
    "labels": bv.labels(),
    "learning_rate": bv.number(above=0),
    "level": bv.number(above=0, below=1),
    "link": bv.choice(),
    "logits": bv.numbers(tied=None),
    # A drawn kernel has neither LoRA nor quantization.
    "lora_alpha": bv.domain("lora", number=2, text=bv.TEXT, optional=True),
    "lora_rank": bv.domain("lora", number=2, text=bv.TEXT, optional=True),
    "quantization_config": bv.domain("lora", text=bv.TEXT, optional=True),
    "losses": bv.numbers(),
    "mean": bv.numbers(),
    "members": bv.probabilities(),
    "metadata": bv.mapping(
        keys={3: "a"}, object={"a": object()}, nan={"a": float("nan")}
    ),
    "method": bv.choice(),
    "metrics": bv.sequence(text=bv.TEXT, entries=[3]),
    "min_draws": bv.integer(1, 4),
    "min_rows": bv.integer(2),
    "mixture": bv.number(above=0, below=1),
    "model": bv.model(),
    "momentum": bv.number(least=0, most=1),
    "moped_delta": bv.number(above=0),
    "multiplier_scale": bv.number(above=0),
    "name": bv.text(),
    "noise_variance": bv.numbers(scalar=True, tied=0, least=0, name="variance"),
    "norm": bv.choice(),
    "num": bv.integer(1, 6),
    "ignore_class": bv.domain("label", text=bv.TEXT, half=0.5, inside=1, bool=True),
    "num_bins": bv.integer(),
    "num_classes": bv.integer(),
    "num_couplings": bv.integer(0),
    "num_draws": bv.integer(),
    "num_examples": bv.integer(optional=False),
    "num_flows": bv.integer(0),
    "num_folds": bv.integer(2),
    "num_members": bv.integer(),
    "num_pairs": bv.integer(),
    "num_samples": bv.integer(),
    "num_rows": bv.integer(5),
    "of": bv.choice(),
    "optimal": bv.number(),
    "output_padding": bv.sizes(without=("zero",)),
    "outputs": bv.choice(),
    "padding": bv.choice(),
    "path": bv.path(),
    "predictor": bv.instance("predictor"),
    "preprocessing": bv.instance("preprocessing"),
    "prior_scale": bv.number(above=0),
    "probs": bv.probabilities(),
    "rate": bv.number(least=0, below=1),
    "risk": bv.number(least=0),
    "repeats": bv.integer(1, 4),
    "sample_weight": bv.numbers(least=0),
    "samples": bv.numbers(tied=1),
    "conformal": bv.domain("conformal", text=bv.TEXT, number=3, mapping={"a": 1}),
    "free_classes": bv.integer(0),
    "penalty": bv.number(least=0),
    "scaling": bv.domain("scaling", text=bv.TEXT, number=3, mapping={"a": 1}),
    "scale_1": bv.number(above=0),
    "scale_2": bv.number(above=0),
    "scope": bv.choice(),
    "score": bv.choice(),
    "scores_in": bv.numbers(tied=None),
    "scores_out": bv.numbers(tied=None),
    "seed": bv.integer(0, 2**31 - 1),
    "settings": bv.mapping(object={"a": object()}, nan={"a": float("nan")}),
    "steps": bv.integer(),
    "steps_per_call": bv.integer(),
    "steps_per_epoch": bv.integer(),
    "strategy": bv.instance("strategy"),
    "strides": bv.sizes(),
    "targets": bv.numbers(),
    "temperature": bv.number(above=0),
    "test_examples": bv.integer(1, 2500),
    "test_fraction": bv.number(above=0, below=1),
    "threshold": bv.number(least=0),
    "title": bv.text(),
    "tolerance": bv.number(least=0),
    "train_examples": bv.integer(1, 10_000),
    "uncertainty": bv.numbers(),
    "use_bias": bv.boolean(),
    "units": bv.integer(),
    "values": bv.numbers(tied=None, scalar=True),
    "variance": bv.numbers(scalar=True, least=0, name="variance"),
    "verbose": bv.verbosity(),
    "version": bv.choice(),
    "warmup_epochs": bv.integer(),
    "weight_decay": bv.number(least=0),
    "weight_sets": bv.integer(),
    "weights": bv.choice(),
    "where": bv.choice(),
    "width": bv.integer(),
    "width_multiplier": bv.number(above=0),
    "window": bv.integer(1, 6),
    "x": bv.data(tied=0),
    "x1": bv.numbers(),
    "x2": bv.numbers(),
    "y": bv.labels(),
}

_PAIR = {
    "text": bv.TEXT,
    "order": lambda good: good[::-1],
    "length": lambda good: (*good, good[0]),
    "shape": lambda good: (good[0][:-1], good[1]),
    "nan": lambda good: (good[0] * np.nan, good[1]),
    "complex": lambda good: (good[0] + 1j, good[1]),
    "empty": (),
}
# A folder, or some.
_FOLDERS = bv.path(missing=True, nested=[["a"]], numbers=[3])
_CHANNELS = bv.numbers(tied=0, scalar=False, name="channels")
_DEVIATIONS = bv.numbers(tied=0, scalar=False, above=0, name="channels")
_NAMED = {"empty": {}, "entries": {"a": 3}, "nothing": {"a": None}}
_FACTOR = {"steps": bv.integer()}

# Name of a callable, or of a module and a dot -> arguments -> what they may be there.
DOMAINS: dict[str, dict[str, bv.Domain]] = {
    "data.ArrayBatches": {"x": bv.numbers(), "y": bv.numbers()},
    "data.encode_texts": {
        "texts": bv.sequence(numbers=[3]),
        "alphabet": bv.text(),
        "length": bv.integer(),
    },
    "data.language_names": {"languages": bv.names(), "longest": bv.integer()},
    "data.written_dates": {"languages": bv.names(), "count": bv.integer()},
    "data.GANBatches": {
        "images": bv.numbers(tied=None),
        "labelled": bv.numbers(tied=None),
    },
    "heads.": {
        "beta": bv.number(least=0, most=1),
        "classes": bv.integer(2),
        "components": bv.integer(),
        "family": bv.instance("family"),
        "mean_link": bv.choice(),
        "min_mean": bv.number(above=0),
        "min_scale": bv.number(above=0),
        "scale_link": bv.choice(),
        "targets": bv.integer(),
    },
    "heads.CRPS": {"num_samples": bv.integer(2)},
    "conformal.": {
        "alpha": bv.number(above=0, below=1),
        "channel": bv.integer(0, 1),
        "free_classes": bv.integer(0),
        "groups": bv.domain("groups", text=bv.TEXT, number=3, floats=[0.5] * 6),
        "penalty": bv.number(least=0),
        "prediction": bv.instance("prediction"),
        "thresholds": bv.numbers(name="thresholds"),
    },
    "conformal.conformal_intervals": {"y": bv.numbers()},
    "detection.": {
        "dimensions": bv.integer(),
        "false_positive_rate": bv.number(least=0, below=1),
        "k": bv.integer(),
        "layer": bv.domain("layer", number=3, list=["hidden"]),
        "logits": bv.numbers(None, without=("shape",)),
        "max_examples": bv.integer(),
        "members": bv.probabilities(None),
        "num_draws": bv.integer(),
        "path": bv.path(),
        "percentile": bv.number(above=0),
        "shrinkage": bv.number(least=0),
        "temperature": bv.number(above=0),
        "x_train": bv.data(tied=0),
        "x_val": bv.data(),
        "y_train": bv.labels(),
    },
    "detection.load": {"path": bv.path(missing=True)},
    "detection.table": {
        "far": bv.mapping(entries={"a": 3}, taken={"test": INPUTS}),
        "near": bv.mapping(entries={"a": 3}, taken={"test": INPUTS}),
        "scorers": bv.sequence(text=bv.TEXT, unknown=["none"], empty=[], entries=[3]),
        "test": bv.data(),
        "train": bv.domain("train", text=bv.TEXT, number=3, scalar=0.5),
    },
    # A noise of 0 is none.
    "heads.VBLLRegression": {
        **_LAYER,
        **_LAST_LAYER,
        "noise_scale": bv.number(above=0),
    },
    "analysis.comparison_plot": {"table": bv.instance("table")},
    "comparison.evaluate": {
        "calibration": bv.domain("data", text=bv.TEXT, number=3, scalar=0.5),
        "costs": bv.mapping(unknown={"two": 1.0}, entries={"one": "long"}),
        "foreign": bv.mapping(entries={"a": 3}, taken={"test": INPUTS}),
        "predictors": bv.mapping(entries={"a": 3}, empty={}),
        "shifted": bv.mapping(entries={"a": 3}, empty={"a": {}}),
        "test": bv.domain("data", text=bv.TEXT, number=3, scalar=0.5),
        "timed_batches": bv.integer(),
    },
    "shift.Corruption": {
        "group": bv.choice(),
        "large": bv.sequence(text=bv.TEXT, empty=(), length=(1, 2)),
        "small": bv.sequence(text=bv.TEXT, empty=(), length=(1, 2)),
    },
    "shift.": {
        "images": bv.numbers(None, least=0, most=1),
        "kind": bv.choice(),
        "kinds": bv.sequence(text=bv.TEXT, unknown=["none"], empty=[], entries=[3]),
        "prepare": bv.function(),
        "reference": bv.numbers(None),
        "severities": bv.sequence(text=bv.TEXT, huge=[6], empty=[]),
        "severity": bv.integer(1, 5),
        "x": bv.numbers(),
        "y": bv.numbers(without=("shape",)),
    },
    "scaling.": {
        "biases": bv.numbers(name="biases"),
        "intercepts": bv.numbers(name="intercepts"),
        "slopes": bv.numbers(name="slopes"),
        "thresholds": bv.numbers(name="thresholds"),
        "values": bv.numbers(name="values"),
        "weights": bv.numbers(name="weights"),
    },
    # More axes before the last are as good.
    "heads.DrawMixture": {
        "family": bv.instance("family"),
        "parameters": bv.numbers(None, name="parameters", without=("shape",)),
    },
    "heads.DrawMixture.cdf": {"values": bv.numbers(scalar=True)},
    "heads.DrawMixture.sample": {"num_samples": bv.integer()},
    **{
        f"heads.DrawMixture.{name}": {"targets": bv.numbers()}
        for name in ("crps", "log_prob", "pit")
    },
    # Good ones are left out: `coverage` goes without them.
    "metrics.rejection_threshold": {
        "labels": bv.domain("labels", text=bv.TEXT, number=3),
        "probs": bv.domain("probs", text=bv.TEXT, number=3),
        "error": bv.domain("error", text=bv.TEXT, negative=-0.5),
    },
    "analysis.": {"members": bv.probabilities()},
    "analysis.complexity_plot": {"found": bv.instance("complexity")},
    "analysis.correlation_plot": {"correlations": bv.mapping(**_NAMED)},
    "analysis.detection_plot": {"table": bv.instance("table")},
    "analysis.foreign_score_plot": {
        "known": bv.numbers(None),
        "foreign": bv.mapping(**_NAMED, nan={"a": UNCERTAINTY * np.nan}),
        "threshold": bv.domain("threshold", text=bv.TEXT, nan=float("nan")),
        "xlabel": bv.text(),
        "bins": bv.integer(),
    },
    "analysis.error_curve": {
        "metric": bv.domain("metric", text=bv.TEXT, number=3, list=["a"]),
        "sizes": bv.sequence(
            text=bv.TEXT, zero=[0, 1], huge=[1, 9], order=[2, 1], empty=[], half=[1.5]
        ),
        "seed": bv.integer(0),
    },
    "analysis.coverage_plot": {"curves": bv.mapping(**_NAMED)},
    "analysis.error_curve_plot": {"curves": bv.mapping(**_NAMED)},
    "analysis.extreme_examples": {
        "images": bv.numbers(name="images"),
        "prediction_mean": bv.probabilities(),
    },
    "analysis.fault_plot": {"table": bv.instance("table")},
    "analysis.fault_table": {
        "members": bv.mapping(
            **_NAMED,
            shape={"a": MEMBERS[0]},
            length={"a": MEMBERS[:, 1:]},
            range={"a": 2 * MEMBERS},
            nan={"a": MEMBERS * np.nan},
        )
    },
    "analysis.hidden_units_plot": {
        "errors": bv.mapping(
            **_NAMED,
            order={"a": ([16, 8], [0.2, 0.1])},
            length={"a": ([8, 16], [0.2])},
            nan={"a": ([8, 16], [0.2, float("nan")])},
            strings={"a": (["8", "x"], [0.2, 0.1])},
            complex={"a": ([8, 16], [0.2, 1j])},
        )
    },
    "analysis.pit_plot": {"histograms": bv.mapping(**_NAMED)},
    "analysis.prediction_plot": {
        "prediction": bv.instance("prediction"),
        "example": bv.integer(0, 5),
        "image": bv.numbers(tied=None, name="image", without=("shape", "length")),
        "names": _CLASS_NAMES,
    },
    "posterior.Prediction.plot": {
        "example": bv.integer(0, 5),
        "image": bv.numbers(tied=None, name="image", without=("shape", "length")),
        "names": _CLASS_NAMES,
    },
    "posterior.Prediction.take": {
        "examples": bv.domain("examples", text=bv.TEXT, number=3),
    },
    "analysis.segmentation_map": {
        "images": bv.numbers(name="images"),
        "labels": bv.labels(),
        "prediction": bv.instance("prediction"),
        "examples": bv.sequence(
            text=bv.TEXT, negative=[-1], huge=[6], empty=[], half=[1.5]
        ),
    },
    "analysis.sparsification_plot": {"curves": bv.mapping(**_NAMED)},
    "analysis.training_curves": {
        "history": bv.mapping(
            empty={},
            entries={"loss": 3},
            strings={"loss": ["a"]},
            complex={"loss": [1j]},
            keys={3: [1.0]},
            shape={"loss": [[1.0, 2.0], [1.0, 2.0]]},
        )
    },
    "analysis.uncertainty_error_plot": {
        "variance": bv.numbers(scalar=True, least=0, name="variance")
    },
    "analysis.uncertainty_map": {
        "points": bv.numbers(),
        "x1": bv.numbers(),
        "x2": bv.numbers(),
    },
    "analysis.weight_correlation": {"num_draws": bv.integer(2)},
    "analysis.weight_pair_plot": {
        "first": bv.numbers(),
        "second": bv.numbers(),
        "names": bv.sequence(
            text=bv.TEXT, length=("a",), entries=(1, 2), without=("bool",)
        ),
    },
    **dict.fromkeys(
        ("convert", "conversion_report"),
        {
            "keep": bv.domain(
                "keep",
                text=bv.TEXT,
                number=3,
                unknown=[bv.TEXT],
                numbers=[3],
                bool=True,
            ),
            "where": bv.domain(
                "where",
                text=bv.TEXT,
                number=3,
                unknown=[bv.TEXT],
                numbers=[3],
                bool=True,
                empty=[],
                last="last:0",
                other=lambda good: keras.layers.LSTM,
            ),
        },
    ),
    "data.check_table": {"x": bv.numbers(), "y": bv.numbers()},
    "data.fold_rows": {"seed": bv.integer(0, 2**32 - 1)},
    "data.split_rows": {"seed": bv.integer(0, 2**32 - 1), "num_rows": bv.integer(2)},
    "data.load": {
        "name": bv.domain("name", text="fashon_mnist", number=3, list=["a"], empty=""),
        "mean": _CHANNELS,
        "std": _DEVIATIONS,
        "image_size": bv.integer(16, 1024),
        "color_jitter": bv.number(least=0, below=1),
        "validation_examples": bv.integer(1, 9999, optional=True),
        "crop_padding": bv.choice(),
        "resize_method": bv.choice(),
        "train_split": bv.domain(
            "train_split", text="trian", number=3, list=["a"], empty=""
        ),
        "seed": bv.integer(0),
    },
    "data.load_arrays": {
        "name": bv.domain("name", text="fashon_mnist", number=3, list=["a"], empty=""),
        "mean": _CHANNELS,
        "std": _DEVIATIONS,
    },
    "data.Data.without_classes": {
        "names": bv.sequence(text=bv.TEXT, unknown=["d"], empty=[], entries=[1]),
    },
    "data.load_segmentation": {
        "images_dir": bv.path(missing=True),
        "masks_dir": bv.path(missing=True),
        "num_classes": bv.integer(2),
        "ignore_class": bv.integer(3, 2**24 - 1, optional=True),
        "class_colors": bv.sequence(text=bv.TEXT, empty=[], entries=[3]),
        "class_names": bv.sequence(text=bv.TEXT, length=["a"], entries=[1, 2, 3]),
        "test_images_dir": bv.path(missing=True),
        "test_masks_dir": bv.path(missing=True),
        "test_fraction": bv.number(above=0, below=1),
        "image_size": bv.sequence(
            text=bv.TEXT, zero=(0, 1), half=(1.5, 1), empty=(), entries=("a", "b")
        ),
        "scale": bv.sequence(
            text=bv.TEXT, zero=(0, 1), negative=(-1, 1), empty=(), entries=("a", "b")
        ),
        "seed": bv.integer(0),
        "mean": _CHANNELS,
        "std": _DEVIATIONS,
    },
    "data.load_super_resolution": {
        "images_dir": _FOLDERS,
        "scale": bv.integer(2, 16),
        "patch": bv.integer(),
        "stride": bv.integer(optional=True),
        "colors": bv.choice(),
        "test_images_dir": _FOLDERS,
        "test_fraction": bv.number(above=0, below=1),
        "seed": bv.integer(0),
    },
    "data.load_table": {"path": bv.path(missing=True)},
    "data.picture_pairs": {
        "images_dir": _FOLDERS,
        "scale": bv.integer(2, 16),
        "colors": bv.choice(),
    },
    "data.read_picture": {"path": bv.path(missing=True), "colors": bv.choice()},
    "data.reduce_picture": {
        "picture": bv.numbers(tied=None),
        "scale": bv.integer(2, 16),
    },
    "data.repeat_batches": {"data": bv.dataset(), "members": bv.integer()},
    "data.standardization": {"values": bv.numbers(tied=None)},
    "data.Standardization.apply": {"values": bv.numbers(tied=None, scalar=True)},
    "data.Standardization.undo": {"values": bv.numbers(tied=None, scalar=True)},
    "export.": {
        "check_data": bv.sequence(
            text=bv.TEXT,
            length=lambda good: good[:1],
            shape=lambda good: (good[0][:, :-1], good[1]),
            rows=lambda good: (good[0][:-1], good[1]),
            range=lambda good: (good[0], good[1] + 9),
            nothing=(None, None),
        ),
        "form": bv.choice(),
        "sampling_inputs": bv.data(),
    },
    "export.Preprocessing": {
        "mean": bv.numbers(scalar=True, name="channels"),
        "std": bv.numbers(scalar=True, above=0, name="channels"),
    },
    "kits.LayerKit": {
        "heads": bv.sequence(text=bv.TEXT, entries=(3,)),
        "replaces": bv.sequence(text=bv.TEXT, entries=(3,)),
        "wraps": bv.sequence(text=bv.TEXT, entries=(3,)),
    },
    "kits.": {
        "initial_rate": bv.number(above=0, below=1),
        "sharing": bv.choice(),
        "strategy": bv.choice(),
        "unit": bv.choice(),
        "prior": bv.instance("prior"),
        "prior_mean": bv.number(least=0),
        "block": bv.sizes(),
        "variables": bv.sequence(text=bv.TEXT, entries=(3,)),
    },
    "kits.bayes_lora": {"factors": bv.sequence(text=bv.TEXT, entries=(3,))},
    "kits.hyper": {"prior": bv.choice(), "rank": bv.integer()},
    "kits.rank_one": {**_MEMBERS, "initial_scale": bv.number(above=0)},
    "kits.sngp": _LAST_LAYER,
    "kits.subspace": _SUBSPACE,
    "kits.vbll": {**_LAST_LAYER, "num_examples": bv.integer(optional=False)},
    "layers.": {
        **_LAYER,
        "columns": bv.integer(-(2**15), 2**15),
        "fill": bv.choice(),
        "flips": bv.boolean(),
        "pixels": bv.integer(),
        "rows": bv.integer(-(2**15), 2**15),
        "views": bv.sequence(text=bv.TEXT, empty=[], entries=["a"]),
        "prior": bv.instance("prior"),
        "block": bv.sizes(),
        "noise_shape": bv.sequence(
            text=bv.TEXT,
            length=(None, 1, 1, 1),
            zero=(None, 0),
            first=(2, 4),
            half=(None, 1.5),
        ),
    },
    "layers.give_role": {
        "role": bv.choice(),
        "variables": bv.sequence(text=bv.TEXT, entries=[3]),
    },
    "layers.role_of": {"variable": bv.instance("variable")},
    "layers.variational_layers": {
        "model": bv.domain("layer", text=bv.TEXT, number=3, mapping={}, list=[1]),
    },
    **{
        f"layers.Hyper{name}": {"prior": bv.choice(), "rank": bv.integer()}
        for name in (
            "Conv1D",
            "Conv2D",
            "Conv2DTranspose",
            "Conv3D",
            "Dense",
            "DepthwiseConv2D",
        )
    },
    "layers.LatentCode": {"prior": bv.choice()},
    "layers.GeneratedPosterior": {"prior": bv.choice(), "rank": bv.integer()},
    "layers.ConcreteDropout": {"layer": bv.instance("layer")},
    "layers.SubspacePoint": _SUBSPACE,
    "layers.SubspacePosterior": _SUBSPACE,
    "layers.RandomVariables": {
        "layer": bv.instance("layer"),
        "posterior": bv.instance("posterior"),
        "where": bv.sequence(text=bv.TEXT, empty=[], entries=[3]),
    },
    "layers.RandomFeatureGaussianProcess": _LAST_LAYER,
    **{
        f"layers.Spectral{name}": _LAST_LAYER
        for name in ("Conv1D", "Conv2D", "Conv3D", "Dense")
    },
    "layers.VBLLDense": _LAST_LAYER,
    **{
        f"layers.RankOne{name}": _MEMBERS
        for name in ("Conv1D", "Conv2D", "Conv3D", "Dense")
    },
    "layers.BayesHyperConv2D": _FLOW,
    "layers.BayesHyperDense": _FLOW,
    "layers.Dropout": {
        "rate": bv.number(least=0, most=1),
        "noise_shape": bv.sequence(text=bv.TEXT, half=(2, 1.5)),
    },
    "metrics.": {
        "interval": bv.sequence(**_PAIR),
        "levels": bv.numbers(tied=None, above=0, below=1),
    },
    **{
        f"metrics.{name}{part}": domains
        for name in ("BrierScore", "ExpectedCalibrationError", "NegativeLogLikelihood")
        for part, domains in {
            "": {
                "dtype": bv.dtype(),
                # Before there are classes any integer may be beside them.
                "ignore_class": bv.domain("label", text=bv.TEXT, half=0.5, bool=True),
            },
            ".update_state": {
                "y_true": bv.labels(),
                "y_pred": bv.probabilities(),
                "sample_weight": bv.numbers(least=0),
            },
        }.items()
    },
    **{
        f"metrics.{name}{part}": domains
        for name in ("NormalCRPS", "NormalCoverage", "NormalNegativeLogLikelihood")
        for part, domains in {
            "": {"dtype": bv.dtype(), "spread": bv.choice()},
            ".update_state": {
                "y_true": bv.numbers(),
                "y_pred": bv.numbers(),
                "sample_weight": bv.numbers(least=0),
            },
        }.items()
    },
    "metrics.normalized_score": {"score": bv.number()},
    **{
        f"metrics.{name}": {
            "labels": bv.domain("ones", text=bv.TEXT, number=3, two=2 * _ONES),
            "probs": bv.domain("shares", text=bv.TEXT, number=0.5, range=2 * PROBS),
            "threshold": bv.number(least=0, below=1),
            "ignore_class": bv.domain("label", text=bv.TEXT, half=0.5, inside=1),
        }
        for name in (
            "MultilabelScores",
            "MultilabelScores.update",
            "binary_report",
            "label_scores",
            "multilabel_report",
            "threshold_curve",
        )
    },
    "metrics.luma": {"images": bv.numbers(tied=None, without=("shape", "empty"))},
    "metrics.psnr": {"predicted": bv.numbers(), "border": bv.integer(0)},
    "metrics.ssim": {"predicted": bv.numbers(), "border": bv.integer(0)},
    "metrics.sharpness": {
        "variance": bv.numbers(tied=None, least=0, without=("shape",))
    },
    # Before there are classes any integer may be beside them.
    "metrics.ClassificationScores": {
        "ignore_class": bv.domain("label", text=bv.TEXT, half=0.5, bool=True)
    },
    **{
        f"metrics.{name}": {"members": bv.numbers(tied=1)}
        for name in (
            "RegressionScores.update",
            "fit_noise_variance",
            "predictive_log_likelihood",
            "regression_report",
        )
    },
    "metrics.predictive_moments": {"members": bv.numbers(tied=None)},
    "metrics.sample_interval": {"samples": bv.numbers(tied=None)},
    **{
        f"metrics.{name}": {"members": bv.probabilities(tied=None)}
        for name in (
            "covariance_decomposition",
            "disagreement",
            "expected_entropy",
            "mutual_information",
            "predictive_entropy",
            "variance_decomposition",
        )
    },
    "models.wide_resnet": {"dropout": bv.number(least=0, below=1)},
    "models.deeplab_cifar": {
        "dropout": bv.number(least=0, below=1),
        "rates": bv.sequence(
            text=bv.TEXT, zero=(0, 1), half=(1.5, 1), empty=(), entries=("a",)
        ),
    },
    "models.segnet": {
        "dropout": bv.number(least=0, below=1),
        "stage_convs": bv.sequence(
            text=bv.TEXT, zero=(0, 1), half=(1.5, 1), empty=(), entries=("a",)
        ),
    },
    "models.unet": {
        "dropout": bv.number(least=0, below=1),
        "upsampling": bv.choice(),
    },
    "models.edsr": {
        "blocks": bv.integer(),
        "scale": bv.integer(2, 8),
        "input_shape": bv.image_shape(without=("unknown",)),
        "residual_scaling": bv.number(above=0),
        "skip": bv.choice(optional=True),
        "head": bv.instance("head", optional=True),
        "dropout": bv.number(least=0, below=1),
    },
    "models.espcn": {
        "scale": bv.integer(2, 8),
        "input_shape": bv.image_shape(without=("unknown",)),
        "skip": bv.choice(optional=True),
        "head": bv.instance("head", optional=True),
        "dropout": bv.number(least=0, below=1),
    },
    "layers.BicubicUpsampling2D": {"scale": bv.integer(2)},
    "layers.MaxUnpooling2D": {"pool_size": bv.sizes()},
    "layers.PixelShuffle": {"scale": bv.integer()},
    "posterior.predict_tiles": {
        "predictor": bv.instance("predictor"),
        "picture": bv.numbers(tied=None),
        "overlap": bv.integer(0),
        "tile": bv.integer(3),
    },
    "models.plain_network": {
        "convs": bv.sequence(
            text=bv.TEXT,
            entries=[3],
            mapping=[{}],
            negative=[{"filters": -1, "kernel_size": 5}],
        ),
        "units": bv.sequence(text=bv.TEXT, negative=[-1], half=[1.5], entries=["a"]),
    },
    "models.residual_network": {
        "stages": bv.sequence(
            text=bv.TEXT,
            entries=[3],
            length=[(1,)],
            negative=[(1, [-2])],
            zero=[(0, [2])],
            empty=[],
        ),
        "block": bv.function(),
        "stem": bv.function(),
        "head": bv.function(),
    },
    "models.resnet": {
        "depth": bv.choice(),
        "stage_blocks": bv.sequence(
            text=bv.TEXT, zero=(0, 1), half=(1.5, 1), empty=(), entries=("a",)
        ),
    },
    "posterior.": {
        "augment": bv.instance("augment"),
        "dropout": bv.choice(),
        "noise_variance": bv.number(least=0),
        "models": bv.sequence(
            text=bv.TEXT, empty=[], entries=[3], missing=["nowhere.keras"], layer=[None]
        ),
        "print_fn": bv.function(),
    },
    "posterior.PosteriorPredictor.load": {"path": bv.path(missing=True)},
    "posterior.DeepEnsemble.load": {"path": bv.path(missing=True)},
    "posterior.DeepEnsemble.materialize": {"draw": bv.integer(0, 1)},
    "posterior.DeepEnsemble.predict_anytime": {"min_draws": bv.integer(1, 2)},
    "posterior.PosteriorPredictor.evaluate": {"y": bv.labels(optional=False)},
    "posterior.PosteriorPredictor.predict_labelled": {"y": bv.labels(optional=False)},
    "posterior.DeepEnsemble.evaluate": {"y": bv.labels(optional=False)},
    "posterior.DeepEnsemble.predict_labelled": {"y": bv.labels(optional=False)},
    "posterior.PosteriorPredictor.fit_noise": {"y": bv.numbers(optional=False)},
    "posterior.DeepEnsemble.fit_noise": {"y": bv.numbers(optional=False)},
    "pruning.report": {
        "before": bv.model(),
        "after": bv.model(),
        "calibration": bv.data(),
        "y": bv.labels(optional=False),
    },
    **{
        f"training.{name}": {
            "learning_rate": bv.number(least=0),
            "no_decay": bv.sequence(text=bv.TEXT, entries=(3,)),
            "no_decay_roles": bv.sequence(text=bv.TEXT, unknown=("a",), entries=(3,)),
            "role_decays": bv.mapping(optional=True),
        }
        for name in ("CoupledDecayAdam", "CoupledDecaySGD")
    },
    "training.Recipe.compile": {
        "learning_rate": bv.number(above=0, optional=True),
        "weight_decay": bv.number(least=0, optional=True),
        "generator_decay": bv.number(least=0, optional=True),
    },
    "training.recipe_for": {
        "network": bv.text(),
        "dataset": bv.text(),
        "kit": bv.text(optional=True),
    },
    "training.SonderbyKLWarmup.factor": {"steps": bv.integer(optional=True)},
    "training.IVON": {
        "learning_rate": bv.number(least=0),
        "beta_1": bv.number(least=0, below=1),
        "beta_2": bv.number(least=0, below=1),
    },
    "laplace.": {
        "covariance": bv.choice(),
        "gives": bv.choice(),
        "grid": bv.numbers(tied=None, above=0),
        "hessian": bv.choice(),
        "likelihood": bv.choice(),
        "method": bv.choice(),
        "noise_variance": bv.number(above=0),
        "predictive": bv.choice(),
        "prior_precision": bv.number(above=0),
        "temperature": bv.number(above=0),
    },
    "variational.": {
        "effective_sample_size": bv.number(above=0),
        "initial_curvature": bv.number(above=0),
        "num_examples": bv.integer(),
        "size": bv.integer(),
        "temperature": bv.number(above=0),
        "weight_decay": bv.number(above=0),
        "coefficients": bv.choice(),
        "deviations": bv.sequence(text=bv.TEXT, entries=[3], length=[[]]),
        "mean": bv.sequence(text=bv.TEXT, entries=[3], length=[]),
        "scale": bv.number(above=0),
        "variance": bv.sequence(text=bv.TEXT, entries=[3], length=[]),
        "varying": bv.sequence(text=bv.TEXT, entries=["a"], optional=True),
        "weight_sets": bv.sequence(text=bv.TEXT, entries=[3], length=[]),
    },
    "training.": {
        "cycle_epochs": bv.integer(2),
        "cycle_steps": bv.integer(2),
        "cycles": bv.integer(),
        "exploration": bv.number(least=0, below=1),
        "final": bv.number(above=0),
        "folder": bv.path(optional=True),
        "friction": bv.number(above=0, most=1),
        "high": bv.number(above=0),
        "last": bv.integer(optional=True),
        "low": bv.number(above=0),
        "rank": bv.integer(0),
        "samples": bv.integer(),
        "scale": bv.number(above=0),
        "schedule": bv.function(optional=True),
        "steps": bv.integer(),
        "temperature": bv.number(least=0),
    },
    **{
        f"training.{name}": {"start": bv.number(least=0, below=1)}
        for name in ("SWAG", "WeightAverage")
    },
    **{
        f"training.{name}": {"start": bv.integer()}
        for name in ("AveragingRate", "FastGeometric", "GeometricRate")
    },
    "training.SGHMC": {
        "learning_rate": bv.function(),
        "no_decay": bv.sequence(text=bv.TEXT, entries=(3,)),
        "no_decay_roles": bv.sequence(text=bv.TEXT, unknown=("a",), entries=(3,)),
        "role_decays": bv.mapping(optional=True),
    },
    "training.compile_variational_recipe": {
        "beta_2": bv.number(least=0, below=1, optional=True),
    },
    "training.KLSchedule": {"factor": bv.number(least=0)},
    "training.Trainer.fit": {
        "after_call": bv.function(),
        "initial_metrics": bv.sequence(text=bv.TEXT, entries=["a"], length=[1.0] * 9),
        "validation_data": bv.dataset(),
    },
    "training.Workdir": {
        "keep": bv.integer(),
        "settings": bv.mapping(object={"a": object()}, without=()),
    },
    "training.Workdir.diverged": {"what": bv.text()},
    "training.Workdir.file": {"name": bv.path()},
    "training.Workdir.metrics": {"checkpoint": bv.instance("checkpoint")},
    "training.Workdir.history": {"epochs": bv.integer(0, 1)},
    "training.Workdir.save": {
        "step": bv.integer(0),
        "metrics": bv.sequence(text=bv.TEXT),
    },
    "training.fit_in_workdir": {
        "workdir": bv.instance("workdir"),
        "data": bv.instance("data"),
        "keep": bv.integer(),
        "save_every": bv.integer(),
    },
    "training.make_strategy": {"name": bv.choice()},
    "training.step_schedule": {
        "drops": bv.sequence(
            text=bv.TEXT, order=(0.8, 0.4), range=(0.4, 1.5), entries=("a",)
        ),
        "factor": bv.number(above=0),
    },
    "training.train_ensemble": {
        "data": bv.function(),
        "workdir": bv.path(),
        "keep": bv.integer(),
    },
}

# Bad values that are good after all: callable (or "*"), argument, kind -> why.
_COMPILED = "a Keras model can be compiled before it is built"
_ROWS = "any number of rows is given back as it came"
LEGAL: dict[tuple[str, str, str], str] = {
    ("laplace.Laplace", "prior_precision", "array"): "one of kernel and one of bias",
    (
        "metrics.expected_entropy",
        "members",
        "shape",
    ): "axes before the classes are free",
    ("metrics.gaussian_interval", "mean", "shape"): (
        "the variance may have the last axes of the means"
    ),
    ("layers.", "filters, kernel_size", "swapped"): "both are sizes",
    **{
        (
            f"metrics.{name}.update_state",
            "sample_weight",
            "scalar",
        ): "one weight for all, as Keras' metrics take it"
        for name in (
            "BrierScore",
            "ExpectedCalibrationError",
            "NegativeLogLikelihood",
            "NormalCRPS",
            "NormalCoverage",
            "NormalNegativeLogLikelihood",
        )
    },
    **{
        (f"training.{name}", "model", kind): _COMPILED
        for name in ("compile_adam_recipe", "compile_recipe", "Recipe.compile")
        for kind in ("unbuilt", "empty")
    },
    **{
        (f"data.Standardization.{name}", "values", kind): _ROWS
        for name in ("apply", "undo")
        for kind in ("empty", "shape")
    },
    ("training.Workdir.save", "history", "empty"): "a training need not have metrics",
    **{
        (f"posterior.{name}.{method}", "x", "length"): "as many examples as one likes"
        for name in ("PosteriorPredictor", "DeepEnsemble")
        for method in ("predict", "predict_anytime", "predict_batches")
    },
    **{
        (f"detection.{name}", "x", "length"): "as many examples as one likes"
        for name in ("DDU.predict", "Scorer.score")
    },
    **{
        ("data.median_frequency_weights", "labels", kind): "maps of any number and size"
        for kind in ("shape", "length")
    },
    ("metrics.normalized_softplus", "logits", "shape"): _ROWS,
    ("metrics.normalized_softplus", "logits", "empty"): _ROWS,
}
