"""Networks that enlarge pictures: sizes, draws, tiles, files and exports."""

import importlib.util

import keras
import numpy as np
import pytest
from keras import ops

import tfhyper
from tests.helpers.kits import make_kit
from tests.helpers.runtimes import Onnx
from tfhyper import export, heads, kits
from tfhyper.layers import BicubicUpsampling2D, MCDropout
from tfhyper.models import SUPER_RESOLVERS, edsr, espcn

RNG = np.random.default_rng(0)
X = RNG.uniform(size=(2, 7, 5, 3)).astype("float32")
SMALLEST = {"edsr": {"blocks": 1, "width": 4}, "espcn": {}}
# How far away the pixels are that one depends on.
REACH = {"edsr": 6, "espcn": 5}


def small(name, kit="deterministic", scale=2, shape=(None, None, 3), **options):
    keras.utils.set_random_seed(0)
    options = {**SMALLEST[name], **options}
    return SUPER_RESOLVERS[name](scale=scale, input_shape=shape, kit=kit, **options)


def numbers(tensor):
    return ops.convert_to_numpy(tensor)


def test_parameters_of_the_published_networks():
    """Of EDSR's baseline the authors count 1.37 M; written out of the slides' ESPCN."""
    assert edsr().count_params() == 1_369_859
    convs = 64 * 26 + 64 * (9 * 64 + 1) + 32 * (9 * 64 + 1) + 9 * (9 * 32 + 1)
    assert espcn().count_params() == convs == 59_657


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
@pytest.mark.parametrize("name", SUPER_RESOLVERS)
def test_each_scale_and_any_size(name, scale):
    model = small(name, scale=scale)
    assert model.output_shape == (None, None, None, 3)
    for size in ((7, 5), (1, 2)):
        x = RNG.uniform(size=(2, *size, 3)).astype("float32")
        assert model(x).shape == (2, size[0] * scale, size[1] * scale, 3)
    fixed = small(name, scale=scale, shape=(7, 5, 1))
    assert fixed.output_shape == (None, 7 * scale, 5 * scale, 1)


@pytest.mark.parametrize("name", SUPER_RESOLVERS)
def test_the_skip_is_bicubic_interpolation(name):
    """Without what the last convolution adds, and near it before the training."""
    model = small(name, skip="bicubic")
    usual = numbers(BicubicUpsampling2D(2)(X))
    assert np.abs(numbers(model(X)) - usual).std() < 0.2
    model.get_layer("picture").set_weights(
        [np.zeros(w.shape) for w in model.get_layer("picture").weights]
    )
    np.testing.assert_allclose(numbers(model(X)), usual, atol=1e-6)
    assert all(x.name != "bicubic" for x in small(name, skip=None).layers)


def test_residuals_are_scaled():
    model = small("edsr", residual_scaling=0.1, skip=None)
    outputs = model.get_layer("stage1_block1_add").output
    inside = keras.Model(model.inputs, outputs)
    stem = keras.Model(model.inputs, model.get_layer("stem").output)
    second = keras.Model(model.inputs, model.get_layer("stage1_block1_conv2").output)
    expected = numbers(stem(X)) + 0.1 * numbers(second(X))
    np.testing.assert_allclose(numbers(inside(X)), expected, atol=1e-5)


@pytest.mark.parametrize("head", [heads.NormalHead, heads.LaplaceHead])
@pytest.mark.parametrize("name", SUPER_RESOLVERS)
def test_a_head_has_the_picture_as_its_location(name, head):
    model = small(name, head=head(3), skip="bicubic")
    loc, scale = np.split(numbers(model(X)), 2, axis=-1)
    usual = numbers(BicubicUpsampling2D(2)(X))
    assert np.abs(loc - usual).std() < 0.2
    assert (scale > 0).all() and np.median(scale) < 0.5
    loss = heads.NegativeLogLikelihood(model.layers[-1])
    model.compile("sgd", loss, jit_compile=False)
    y = np.repeat(np.repeat(X, 2, 1), 2, 2)
    assert np.isfinite(model.fit(X, y, verbose=0).history["loss"]).all()


@pytest.mark.parametrize("kit", ["hyper", "bayes", "mc_dropout", "deterministic"])
@pytest.mark.parametrize("name", SUPER_RESOLVERS)
def test_tiles_give_what_the_whole_picture_gives(name, kit):
    """With the reach of a pixel as the overlap; with less they do not."""
    options = {"mc_dropout": {"rate": 0.0}}.get(kit, {})
    dropout = 0.2 if kit == "mc_dropout" else 0.0
    model = small(
        name,
        make_kit(kit, **options, **({} if kit == "deterministic" else {"seed": 0})),
        head=heads.NormalHead(3),
        dropout=dropout,
    )
    draws = 1 if kit == "deterministic" else 2
    predictor = tfhyper.PosteriorPredictor(model, draws, seed=0)
    picture = RNG.uniform(size=(19, 31, 3))
    whole = predictor.predict(picture[None], verbose=0)
    found = tfhyper.predict_tiles(predictor, picture, overlap=REACH[name], tile=16)
    for part in ("mean", "variance", "aleatoric", "epistemic"):
        values = getattr(whole, part)
        assert getattr(found, part).shape == (1, 38, 62, 3)
        np.testing.assert_allclose(
            getattr(found, part), values, rtol=1e-3, atol=1e-5 * values.max()
        )
    assert found.members is None
    assert (whole.epistemic.max() > 0) == (draws > 1)
    less = tfhyper.predict_tiles(predictor, picture, overlap=0, tile=16)
    assert np.abs(less.mean - whole.mean).max() > 1e-3
    # A tile that is larger than the picture is the picture.
    one = tfhyper.predict_tiles(predictor, picture, overlap=0, tile=64)
    np.testing.assert_allclose(one.mean, whole.mean, atol=1e-6)


def test_dropout_is_of_whole_channels():
    for name in SUPER_RESOLVERS:
        model = small(name, kits.mc_dropout(0.0, seed=0), dropout=0.2)
        found = [x for x in model.layers if isinstance(x, MCDropout)]
        assert len(found) == {"edsr": 1, "espcn": 3}[name]
        assert {x.noise_shape for x in found} == {(None, 1, 1, None)}
    # Of other kits it is on in training alone.
    model = small("edsr", make_kit("hyper", seed=0), dropout=0.2)
    kinds = [type(x).__name__ for x in model.layers if "dropout" in x.name]
    assert kinds == ["SpatialDropout2D"]


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("name", SUPER_RESOLVERS)
def test_mixed_precision_keeps_the_picture(name, policy):
    expected = numbers(small(name, skip="bicubic")(X))
    keras.config.set_dtype_policy(policy)
    try:
        model = small(name, skip="bicubic", head=heads.NormalHead(3))
    finally:
        keras.config.set_dtype_policy("float32")
    found = model(X)
    assert keras.backend.standardize_dtype(found.dtype) == "float32"
    np.testing.assert_allclose(numbers(found)[..., :3], expected, atol=0.02)
    assert model.get_layer("picture").compute_dtype != "float32"


@pytest.mark.parametrize("name", SUPER_RESOLVERS)
def test_a_predictor_of_pictures_is_saved_and_exported(name, tmp_path):
    model = small(
        name,
        kits.hyper(seed=0),
        shape=(7, 5, 3),
        head=heads.NormalHead(3),
        skip="bicubic",
    )
    predictor = tfhyper.PosteriorPredictor(model, 2, seed=0)
    expected = predictor.predict(X)
    assert expected.mean.shape == (2, 14, 10, 3)
    assert expected.epistemic.max() > 0
    predictor.save(tmp_path / "p.tfhyper")
    loaded = tfhyper.PosteriorPredictor.load(tmp_path / "p.tfhyper")
    np.testing.assert_allclose(loaded.predict(X).mean, expected.mean, atol=1e-6)
    plain = predictor.materialize(1)
    np.testing.assert_allclose(
        numbers(plain(X)), expected.members[1], rtol=1e-4, atol=1e-5
    )
    plain.save(tmp_path / "m.keras")
    again = keras.saving.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(numbers(again(X)), numbers(plain(X)), atol=1e-6)
    if keras.backend.backend() != "tensorflow":
        return
    from tests.helpers.export import run

    export.saved_model(predictor, str(tmp_path / "saved"))
    files = {"saved_model": run(tmp_path / "saved", inputs=X)}
    if all(map(importlib.util.find_spec, Onnx.needs)):
        export.onnx(predictor, str(tmp_path / Onnx.name), verbose=0)
        files["onnx"] = Onnx.run(str(tmp_path / Onnx.name), inputs=X)
    for kind, found in files.items():
        for key in ("mean", "variance", "epistemic"):
            np.testing.assert_allclose(
                found[key], getattr(expected, key), rtol=1e-3, atol=1e-4, err_msg=kind
            )


@pytest.mark.parametrize("name", SUPER_RESOLVERS)
@pytest.mark.parametrize(
    "options, message",
    [
        ({"scale": 1}, r"`scale` must be one of \[2, 3, 4, 8\]"),
        ({"scale": 5}, r"`scale` must be one of \[2, 3, 4, 8\]"),
        ({"skip": "nearest"}, "`skip` must be one of"),
        ({"dropout": 1.0}, "`dropout` must be in 0 <= dropout < 1"),
        ({"shape": (0, 5, 3)}, "`input_shape` must be a positive integer"),
        ({"shape": (4, 5, None)}, "`input_shape` must be a positive integer"),
        ({"shape": (None, None)}, "`input_shape` must be .height"),
        ({"kit": "picture"}, "`kit` must be one of"),
        ({"head": heads.NormalHead(2)}, "`head` must give a location and a scale"),
        ({"head": heads.PoissonHead(3)}, "`head` must give a location and a scale"),
    ],
    ids="one five skip dropout rows channels axes kit targets poisson".split(),
)
def test_bad_arguments(name, options, message):
    with pytest.raises(ValueError, match=message):
        small(name, **options)


def test_bad_sizes_and_heads():
    for options in ({"blocks": 0}, {"width": 0.5}, {"residual_scaling": 0}):
        with pytest.raises(ValueError, match=f"`{next(iter(options))}` must be"):
            edsr(**options)
    with pytest.raises(TypeError, match="`head` must be a head"):
        espcn(head="normal")


def test_bad_tiles():
    model = small("espcn", make_kit("hyper", seed=0))
    predictor = tfhyper.PosteriorPredictor(model, 2, outputs="mean", seed=0)
    picture = np.zeros((9, 9, 3))
    for options, message in (
        ({"overlap": -1}, "`overlap` must be a non-negative integer"),
        ({"overlap": 5, "tile": 10}, "`tile` must be an integer of at least 11"),
        ({"overlap": 1, "picture": picture[0]}, "`picture` must have the axes"),
        ({"overlap": 1, "picture": picture * np.nan}, "`picture` must be finite"),
    ):
        with pytest.raises(ValueError, match=message):
            tfhyper.predict_tiles(predictor, **{"picture": picture, **options})
    with pytest.raises(TypeError, match="`predictor` must be a predictor"):
        tfhyper.predict_tiles(model, picture, overlap=1)
    inputs = keras.Input((None, None, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(inputs)
    other = keras.Model(inputs, keras.layers.Dense(2)(pooled))
    predictor = tfhyper.PosteriorPredictor(other, 1, outputs="mean")
    with pytest.raises(ValueError, match="`predictor` must give pictures"):
        tfhyper.predict_tiles(predictor, picture, overlap=1)
