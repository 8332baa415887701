"""Layers of Keras in small models, and whether what `tfhyper.convert` gives equals."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers, ops

import tfhyper
from tfhyper.posterior import PointNetwork

KITS: dict[str, Callable[[], tfhyper.LayerKit]] = {
    "hyper": lambda: tfhyper.kits.hyper(code_units=2, hidden_units=2, seed=1),
    "bayes": lambda: tfhyper.kits.bayes(num_examples=100, seed=1),
    "mc_dropout": lambda: tfhyper.kits.mc_dropout(0.2, seed=1),
}
# The largest difference that counts as equal.
TOLERANCE = 1e-5
EXAMPLES = 3


class Row(NamedTuple):
    """A layer in a model.

    Attributes:
        make: makes the layer.
        shape: of an example of its inputs.
        call: `(layer, inputs)`, where the layer is not called with the inputs alone.
        tokens: whether the inputs are whole numbers from 0 to 8.
    """

    make: Callable[[], keras.Layer]
    shape: tuple[int, ...]
    call: Callable[[keras.Layer, Any], Any] = lambda layer, x: layer(x)
    tokens: bool = False


def _adapted(layer: keras.Layer, *shape: int) -> keras.Layer:
    layer.adapt(np.random.default_rng(2).normal(2, 3, (20, *shape)).astype("float32"))
    return layer


def _twice(layer: keras.Layer, x: Any) -> Any:
    return layer(x, x)


def _listed(layer: keras.Layer, x: Any) -> Any:
    return layer([x, x])


def _both_ways(layer: keras.Layer, x: Any) -> Any:
    return layer(layer(x), reverse=True)


L = layers
SEQUENCE, IMAGE, VOLUME = (6, 4), (6, 6, 4), (5, 5, 5, 2)
WITH_WEIGHTS: dict[str, Row] = {
    "AdditiveAttention": Row(lambda: L.AdditiveAttention(), SEQUENCE, _listed),
    "Attention": Row(lambda: L.Attention(use_scale=True), SEQUENCE, _listed),
    "BatchNormalization": Row(lambda: L.BatchNormalization(), IMAGE),
    "Bidirectional": Row(lambda: L.Bidirectional(L.LSTM(3)), SEQUENCE),
    "Conv1D": Row(lambda: L.Conv1D(3, 2), SEQUENCE),
    "Conv1DTranspose": Row(lambda: L.Conv1DTranspose(3, 2), SEQUENCE),
    "Conv2D": Row(lambda: L.Conv2D(3, 2), IMAGE),
    "Conv2DTranspose": Row(lambda: L.Conv2DTranspose(3, 2), IMAGE),
    "Conv3D": Row(lambda: L.Conv3D(3, 2), VOLUME),
    "Conv3DTranspose": Row(lambda: L.Conv3DTranspose(3, 2), VOLUME),
    "ConvLSTM1D": Row(lambda: L.ConvLSTM1D(3, 2), IMAGE),
    "ConvLSTM2D": Row(lambda: L.ConvLSTM2D(3, 2), VOLUME),
    "ConvLSTM3D": Row(lambda: L.ConvLSTM3D(2, 2), (3, *VOLUME)),
    "Dense": Row(lambda: L.Dense(3), SEQUENCE),
    "DepthwiseConv1D": Row(lambda: L.DepthwiseConv1D(2), SEQUENCE),
    "DepthwiseConv2D": Row(lambda: L.DepthwiseConv2D(2), IMAGE),
    "EinsumDense": Row(
        lambda: L.EinsumDense("abc,cd->abd", (6, 3), bias_axes="d"), SEQUENCE
    ),
    "Embedding": Row(lambda: L.Embedding(9, 3), (6,), tokens=True),
    "GRU": Row(lambda: L.GRU(3), SEQUENCE),
    "GRUCell": Row(lambda: L.RNN(L.GRUCell(3)), SEQUENCE),
    "GroupNormalization": Row(lambda: L.GroupNormalization(2), SEQUENCE),
    "GroupedQueryAttention": Row(
        lambda: L.GroupQueryAttention(3, 2, 1), SEQUENCE, _twice
    ),
    "LSTM": Row(lambda: L.LSTM(3), SEQUENCE),
    "LSTMCell": Row(lambda: L.RNN(L.LSTMCell(3)), SEQUENCE),
    "LayerNormalization": Row(lambda: L.LayerNormalization(), SEQUENCE),
    "MultiHeadAttention": Row(lambda: L.MultiHeadAttention(2, 3), SEQUENCE, _twice),
    "Normalization": Row(lambda: _adapted(L.Normalization(), *SEQUENCE), SEQUENCE),
    "PReLU": Row(lambda: L.PReLU(), SEQUENCE),
    "RMSNormalization": Row(lambda: L.RMSNormalization(), SEQUENCE),
    "RNN": Row(lambda: L.RNN(L.SimpleRNNCell(3), return_sequences=True), SEQUENCE),
    "ReversibleEmbedding": Row(
        lambda: L.ReversibleEmbedding(9, 3), (6,), _both_ways, tokens=True
    ),
    "STFTSpectrogram": Row(
        lambda: L.STFTSpectrogram("magnitude", 8, 4, 8, padding="same"), (16, 1)
    ),
    "SeparableConv1D": Row(lambda: L.SeparableConv1D(3, 2), SEQUENCE),
    "SeparableConv2D": Row(lambda: L.SeparableConv2D(3, 2), IMAGE),
    "SimpleRNN": Row(lambda: L.SimpleRNN(3), SEQUENCE),
    "SimpleRNNCell": Row(lambda: L.RNN(L.SimpleRNNCell(3)), SEQUENCE),
    "SpectralNormalization": Row(lambda: L.SpectralNormalization(L.Dense(3)), SEQUENCE),
    "StackedRNNCells": Row(
        lambda: L.RNN(L.StackedRNNCells([L.GRUCell(3), L.LSTMCell(2)])), SEQUENCE
    ),
    "TimeDistributed": Row(lambda: L.TimeDistributed(L.Dense(3)), SEQUENCE),
    "Wrapper": Row(lambda: L.TimeDistributed(L.Conv1D(3, 2)), IMAGE),
}
# What is around a module of another framework, whose weights have no roles.
OF_OTHERS = ("FlaxLayer", "JaxLayer", "TFSMLayer", "TorchModuleWrapper")
WITHOUT_WEIGHTS = """
Activation ActivityRegularization AdaptiveAveragePooling1D AdaptiveAveragePooling2D
AdaptiveAveragePooling3D AdaptiveMaxPooling1D AdaptiveMaxPooling2D AdaptiveMaxPooling3D
Add AlphaDropout AugMix AutoContrast Average AveragePooling1D AveragePooling2D
AveragePooling3D CategoryEncoding CenterCrop Concatenate
ContrastLimitedAdaptiveHistogramEqualization Cropping1D Cropping2D Cropping3D CutMix
Discretization Dot Dropout ELU Equalization Flatten GaussianDropout GaussianNoise
GlobalAveragePooling1D GlobalAveragePooling2D GlobalAveragePooling3D GlobalMaxPooling1D
GlobalMaxPooling2D GlobalMaxPooling3D HashedCrossing Hashing Identity InputLayer
IntegerLookup Lambda Layer LeakyReLU Masking MaxNumBoundingBoxes MaxPooling1D
MaxPooling2D MaxPooling3D Maximum MelSpectrogram Minimum MixUp Multiply Permute Pipeline
RandAugment RandomBrightness RandomColorDegeneration RandomColorJitter RandomContrast
RandomCrop RandomElasticTransform RandomErasing RandomFlip RandomGaussianBlur
RandomGrayscale RandomHue RandomInvert RandomPerspective RandomPosterization
RandomRotation RandomSaturation RandomSharpness RandomShear RandomTranslation RandomZoom
ReLU RepeatVector Rescaling Reshape Resizing Softmax Solarization
SpatialDropout1D SpatialDropout2D SpatialDropout3D StringLookup Subtract
TextVectorization UnitNormalization UpSampling1D UpSampling2D UpSampling3D ZeroPadding1D
ZeroPadding2D ZeroPadding3D
""".split()


def layers_of_keras() -> dict[str, type[keras.Layer]]:
    """Returns the layers of this Keras by the names of their classes."""
    found = [x for x in vars(layers).values() if inspect.isclass(x)]
    return {x.__name__: x for x in found if issubclass(x, keras.Layer)}


def make_model(name: str) -> keras.Model:
    """Returns a model with a layer of the table, and no weight as it starts."""
    row = WITH_WEIGHTS[name]
    inputs = keras.Input(row.shape, dtype="int32" if row.tokens else "float32")
    x = row.call(row.make(), inputs)
    outputs = layers.Dense(2, name="head")(layers.Flatten()(x))
    model = keras.Model(inputs, outputs, name="model")
    rng = np.random.default_rng(1)
    for weight in model.weights:
        if "float" in weight.dtype and name != "Normalization":
            low = 0.5 if "variance" in weight.name else -0.5
            weight.assign(rng.uniform(low, low + 1, weight.shape))
    return model


def make_inputs(name: str) -> np.ndarray:
    """Returns inputs of the model."""
    row, rng = WITH_WEIGHTS[name], np.random.default_rng(3)
    shape = (EXAMPLES, *row.shape)
    if row.tokens:
        return rng.integers(0, 9, shape).astype("int32")
    return rng.normal(size=shape).astype("float32")


def mean_network(model: keras.Model) -> keras.Model:
    """Returns the plain network of a posterior's mean, or of a generator's code 0."""
    point = PointNetwork(model)
    draw = point.sample(0, 0)
    for layer in point.random_layers:
        mean = layer.mean_noise()
        if mean is None:
            mean = np.zeros_like(draw.noise[layer.name])
        draw.noise[layer.name] = mean
    point.set(draw)
    return point.network


def judge(name: str, kit: str) -> dict[str, Any]:
    """Returns what becomes of a layer with a kit, and how far the copy is from it.

    Args:
        name: of the layer.
        kit: of the kit.

    Returns:
        `action`, `reason` and `is_left` of the layer in `tfhyper.conversion_report`,
        and `difference`, the largest one of the outputs at the mean over the largest
        of the outputs.
    """
    model = make_model(name)
    made = KITS[kit]()
    lines = tfhyper.conversion_report(model, made).layers
    # The layer stands behind the inputs.
    line = next(x for x in lines if x.layer.weights)
    found = {"action": line.action, "reason": line.reason, "is_left": line.is_left}
    x = make_inputs(name)
    keep = [line.layer.name] if line.is_left else []
    copy = mean_network(tfhyper.convert(model, made, keep=keep))
    expected = model(x, training=False)
    found["difference"] = difference_of(copy(x, training=False), expected)
    return found


def difference_of(given: Any, expected: Any) -> float:
    """Returns the largest difference of outputs, over the largest of each expected."""
    outputs = (
        map(ops.convert_to_numpy, keras.tree.flatten(x)) for x in (given, expected)
    )
    pairs = zip(*outputs, strict=True)
    return float(max(np.abs(a - b).max() / np.abs(b).max() for a, b in pairs))


def table(names: list[str] | None = None) -> dict[str, dict[str, dict[str, Any]]]:
    """Returns layer -> kit -> what `judge` says, of the layers that this Keras has."""
    known = layers_of_keras()
    names = [x for x in WITH_WEIGHTS if x in known] if names is None else names
    return {name: {kit: judge(name, kit) for kit in KITS} for name in names}
