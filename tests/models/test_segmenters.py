"""Networks of maps: sizes, padding cut back, draws, files and exports."""

import importlib.util

import keras
import numpy as np
import pytest
from keras import ops

import tfhyper
from tests.helpers.kits import make_kit, plain_layer
from tests.helpers.runtimes import Onnx
from tfhyper import export, kits
from tfhyper.layers import (
    BayesConv2DTranspose,
    HyperConv2DTranspose,
    MaxUnpooling2D,
    MCDropout,
)
from tfhyper.models import SEGMENTERS, deeplab_cifar, segnet, unet

SMALLEST = {
    "deeplab_cifar": {"depth": 8, "width": 4, "rates": (1, 2), "num_classes": 3},
    "segnet": {"stage_convs": (1, 2), "width_multiplier": 1 / 16, "num_classes": 3},
    "unet": {"depth": 2, "width": 4, "num_classes": 3},
}
RNG = np.random.default_rng(0)
# Neither 9 nor 14 is a multiple of 4.
X = RNG.normal(size=(5, 9, 14, 3)).astype("float32")


def small(name, kit="deterministic", size=(9, 14), **options):
    shape = (*size, 3)
    keras.utils.set_random_seed(0)
    options = {**SMALLEST[name], **options}
    return SEGMENTERS[name](input_shape=shape, kit=kit, **options)


def trainable(model):
    return sum(int(np.prod(w.shape)) for w in model.trainable_weights)


def test_parameters_of_the_published_unet():
    """Written out by figure 1: convolutions, up-convolutions, and the classes."""
    widths = [64, 128, 256, 512, 1024]
    count = 9 * 1 * 64 + 9 * 64 * 64
    for before, after in zip(widths, widths[1:], strict=False):
        count += 9 * before * after + 9 * after * after  # down
        count += 4 * before * after + before  # up, with a bias
        count += 9 * 2 * before * before + 9 * before * before
    count += 65 * 2
    norms = 2 * (2 * sum(widths) + 2 * sum(widths[:-1]))
    model = unet()
    assert trainable(model) == count + norms
    assert model.count_params() == 31_048_322
    # Biases in place of BatchNorm: the number that is quoted of the original.
    assert count + norms // 2 == 31_030_658


def test_parameters_of_the_published_segnet():
    """VGG-16's convolutions there and back."""
    convs = [(3, 64), (64, 64), (64, 128), (128, 128), (128, 256)]
    convs += [(256, 256)] * 2 + [(256, 512)] + [(512, 512)] * 5
    back = [(b, a) for a, b in convs if a != 3] + [(64, 64)]
    count = sum(9 * a * b + 2 * b for a, b in convs + back) + 65 * 11
    model = segnet()
    assert trainable(model) == count
    assert model.count_params() == 29_488_779
    assert sum(isinstance(x, keras.layers.Conv2D) for x in model.layers) == 26
    assert segnet(width_multiplier=0.25).count_params() == pytest.approx(1.8e6, 0.05)


def test_the_pyramid_stands_on_the_published_trunk():
    model = deeplab_cifar()
    trunk = tfhyper.models.resnet_cifar(20, kit="deterministic")
    pyramid = 64 * 64 * 2 + 3 * 9 * 64 * 64 + 5 * 64 * 64 + 6 * 2 * 64 + 65 * 11
    assert trainable(model) == trainable(trunk) - 65 * 10 + pyramid
    found = [x for x in model.layers if isinstance(x, keras.layers.Conv2D)]
    rates = [x.dilation_rate for x in found if x.dilation_rate != (1, 1)]
    assert rates == [(6, 6), (12, 12), (18, 18)]


@pytest.mark.parametrize("name", SEGMENTERS)
def test_padding_is_that_of_the_image_and_is_cut_back(name):
    """The same as of the image in a frame of zeros, where the stride divides it."""
    model, whole = small(name), small(name, size=(12, 16))
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([RNG.uniform(0.5, 1.5, w.shape) for w in layer.weights])
    whole.set_weights(model.get_weights())
    framed = np.pad(X, [(0, 0), (1, 2), (1, 1), (0, 0)])
    expected = ops.convert_to_numpy(whole(framed))[:, 1:10, 1:15]
    found = ops.convert_to_numpy(model(X))
    assert found.shape == (5, 9, 14, 3)
    # Operations on other shapes may round otherwise.
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    # A pixel at the border reaches the map: nothing is cut off too much.
    assert np.abs(np.diff(found[:, 0], axis=1)).max() > 0


@pytest.mark.parametrize("name", SEGMENTERS)
def test_images_smaller_than_the_stride(name):
    assert small(name, size=(1, 3)).output_shape == (None, 1, 3, 3)


def test_max_unpooling_puts_each_value_where_the_maximum_was():
    # Whole numbers: there are equal ones in most windows.
    pooled = RNG.integers(0, 3, (2, 6, 6, 4)).astype("float32")
    values = RNG.normal(size=(2, 3, 2, 4)).astype("float32")
    expected = np.zeros_like(pooled)
    for b, i, j, c in np.ndindex(values.shape):
        window = pooled[b, 2 * i : 2 * i + 2, 3 * j : 3 * j + 3, c]
        row, column = np.unravel_index(window.argmax(), (2, 3))
        expected[b, 2 * i + row, 3 * j + column, c] = values[b, i, j, c]
    found = MaxUnpooling2D((2, 3))([values, pooled])
    np.testing.assert_array_equal(ops.convert_to_numpy(found), expected)


def test_max_unpooling_of_pooling_as_tensorflow_has_it():
    tf = pytest.importorskip("tensorflow")
    x = np.maximum(RNG.normal(size=(2, 4, 6, 3)), 0).astype("float32")
    values, places = tf.nn.max_pool_with_argmax(x, 2, 2, "VALID")
    rows = np.arange(2)[:, None, None, None] * x[0].size + places.numpy()
    expected = np.zeros(x.size, "float32")
    expected[rows.ravel()] = values.numpy().ravel()
    found = MaxUnpooling2D(2)([keras.layers.MaxPooling2D(2)(x), x])
    found = ops.convert_to_numpy(found)
    np.testing.assert_array_equal(found, expected.reshape(x.shape))
    # Pooling again gives what was pooled.
    again = ops.convert_to_numpy(keras.layers.MaxPooling2D(2)(found))
    np.testing.assert_array_equal(again, values)


def test_a_layer_of_keras():
    from keras.src.testing import TestCase

    TestCase().run_layer_test(
        MaxUnpooling2D,
        {"pool_size": (2, 3)},
        input_shape=[(2, 3, 2, 4), (2, 6, 6, 4)],
        expected_output_shape=(2, 6, 6, 4),
        expected_num_trainable_weights=0,
        expected_num_losses=0,
        supports_masking=False,
        # Keras' own check makes data of one input alone; networks train below.
        run_training_check=False,
    )


@pytest.mark.parametrize("pool_size", [0, (2,), (2, -1), 1.5])
def test_bad_windows(pool_size):
    with pytest.raises(ValueError, match="`pool_size` must be a positive integer"):
        MaxUnpooling2D(pool_size)


@pytest.mark.parametrize(
    "shapes", [[(2, 3, 2, 4), (2, 7, 6, 4)], [(2, 3, 2, 4), (2, 6, 6, 3)], [(2, 3)] * 2]
)
def test_bad_shapes(shapes):
    with pytest.raises(ValueError, match="must be called on two tensors"):
        MaxUnpooling2D((2, 3))([np.zeros(shape, "float32") for shape in shapes])
    with pytest.raises(ValueError, match="must be called on two tensors"):
        MaxUnpooling2D(2)(np.zeros((2, 4, 4, 3), "float32"))


def test_transposed_convolutions_are_the_kits_own():
    def of(kit):
        return type(plain_layer(small("unet", make_kit(kit)).get_layer("up1_up")))

    assert of("hyper") is HyperConv2DTranspose
    gaussian = {"bayes", "variational_dropout"}
    for kit in gaussian:
        assert of(kit) is BayesConv2DTranspose
    for kit in kits.KITS.keys() - {"hyper", *gaussian}:
        assert of(kit) is keras.layers.Conv2DTranspose
    model = small("unet", make_kit("mc_dropout"))
    assert isinstance(model.get_layer("up1_up_mc_dropout"), MCDropout)
    # One code for a stage, the way up and its convolutions.
    model = small("unet", kits.hyper("block_wise"))
    codes = {x.name for x in model.layers if x.name.startswith("code")}
    assert codes == {f"code_{x}" for x in ("bottom", "up2", "up1")} | {
        f"code_stage{s}_block1" for s in (1, 2)
    }


@pytest.mark.parametrize("upsampling", ["nearest", "bilinear"])
def test_other_ways_up_leave_no_kernel_out(upsampling):
    model = small("unet", make_kit("mnf"), upsampling=upsampling)
    layers = [x for x in model.layers if isinstance(x, keras.layers.Conv2D)]
    assert layers and all(type(x).__name__ == "MNFConv2D" for x in layers)
    assert model.output_shape == (None, 9, 14, 3)


@pytest.mark.parametrize("name", SEGMENTERS)
def test_a_hypernetwork_of_maps_is_saved_and_exported(name, tmp_path):
    model = small(name, kits.hyper(seed=0))
    predictor = tfhyper.PosteriorPredictor(model, 2, seed=0)
    predictor.estimate_batch_norm(X)
    expected = predictor.predict(X)
    assert expected.mean.shape == (5, 9, 14, 3)
    assert expected.epistemic.max() > 0
    predictor.save(tmp_path / "p.tfhyper")
    loaded = tfhyper.PosteriorPredictor.load(tmp_path / "p.tfhyper")
    np.testing.assert_allclose(loaded.predict(X).mean, expected.mean, atol=1e-6)
    plain = predictor.materialize(1)
    found = keras.ops.softmax(plain(X))
    np.testing.assert_allclose(
        ops.convert_to_numpy(found), expected.members[1], atol=1e-5
    )
    plain.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(
        ops.convert_to_numpy(keras.ops.softmax(again(X))), found, atol=1e-6
    )
    if keras.backend.backend() != "tensorflow":
        return
    from tests.helpers.export import run

    export.saved_model(predictor, str(tmp_path / "saved"))
    files = {"saved_model": run(tmp_path / "saved", inputs=X)}
    if all(map(importlib.util.find_spec, Onnx.needs)):
        export.onnx(predictor, str(tmp_path / Onnx.name), verbose=0)
        files["onnx"] = Onnx.run(str(tmp_path / Onnx.name), inputs=X)
    for kind, found in files.items():
        for key, values in (
            ("probabilities", expected.mean),
            ("epistemic", expected.epistemic),
        ):
            np.testing.assert_allclose(found[key], values, atol=1e-5, err_msg=kind)


@pytest.mark.parametrize("name", SEGMENTERS)
def test_a_trained_network_is_converted(name):
    model = small(name)
    bayesian = tfhyper.convert(model, make_kit("hyper", deviation_scale=0.0))
    np.testing.assert_allclose(
        ops.convert_to_numpy(bayesian(X)), ops.convert_to_numpy(model(X)), atol=1e-5
    )


def test_dropout_stands_at_the_deepest_stages():
    names = [x.name for x in small("unet", dropout=0.5).layers]
    assert [x for x in names if "dropout" in x] == [
        "stage2_block1_dropout",
        "bottom_dropout",
    ]
    names = [x.name for x in small("segnet", stage_convs=(1, 1, 1), dropout=0.5).layers]
    assert [x for x in names if "dropout" in x] == [
        "stage2_block1_dropout",
        "stage3_block1_dropout",
        "up3_dropout",
        "up2_dropout",
    ]


@pytest.mark.parametrize("name", SEGMENTERS)
@pytest.mark.parametrize(
    "options, message",
    [
        ({"num_classes": 0}, "`num_classes` must be a positive integer"),
        ({"size": (0, 5)}, "`input_shape` must be a positive integer"),
        ({"dropout": 1.0}, "`dropout` must be in 0 <= dropout < 1"),
        ({"kit": "map"}, "`kit` must be one of"),
    ],
)
def test_bad_arguments(name, options, message):
    with pytest.raises(ValueError, match=message):
        small(name, **options)


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("unet", {"depth": 0}, "`depth` must be a positive integer"),
        ("unet", {"width": 0.5}, "`width` must be a positive integer"),
        ("unet", {"upsampling": "cubic"}, "`upsampling` must be one of"),
        ("segnet", {"stage_convs": ()}, "`stage_convs` must be a sequence"),
        ("segnet", {"stage_convs": (1, 0)}, "`stage_convs` must be a positive"),
        ("segnet", {"width_multiplier": 0}, "`width_multiplier` must be a finite"),
        ("deeplab_cifar", {"depth": 9}, "`depth` must be 6 n"),
        ("deeplab_cifar", {"width": -1}, "`width` must be a positive integer"),
        ("deeplab_cifar", {"rates": ()}, "`rates` must be a sequence"),
        ("deeplab_cifar", {"rates": (0,)}, "`rates` must be a positive integer"),
    ],
)
def test_bad_sizes(name, options, message):
    with pytest.raises(ValueError, match=message):
        small(name, **options)
