"""Recipes of the studies: their table, their schedules and their first weights."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import ops

import tfhyper
from tfhyper import kits, models, training
from tfhyper.training import NAMED_RECIPES, RECIPES, recipe_for

NUMBERS = ("epochs", "batch_size", "rates", "weight_decay", "kernel_decay")
STEPS = 10


def to_numpy(tensor):
    return np.array(ops.convert_to_numpy(tensor))


def classifier(classes=3):
    return keras.Sequential([keras.Input((5,)), keras.layers.Dense(classes)])


@pytest.mark.parametrize("name", NAMED_RECIPES)
def test_each_number_has_its_source(name):
    recipe = NAMED_RECIPES[name]
    assert recipe.name == name
    defaults = {field.name: field.default for field in dataclasses.fields(recipe)}
    needed = {n for n in NUMBERS if getattr(recipe, n) != defaults[n]}
    needed |= {"drops"} if recipe.drops else set()
    needed |= {"momentum"} if recipe.optimizer == "sgd" else {"kl"} - {name}
    needed |= {"rate_per_batch"} if recipe.rate_per_batch else set()
    needed |= {n for n in ("network_options", "kit_options") if getattr(recipe, n)}
    for part in ("data", "initial"):
        values = getattr(recipe, part)
        for field in dataclasses.fields(values) if values else ():
            if part == "initial" or getattr(values, field.name) != field.default:
                needed.add(f"{part}.{field.name}")
    if name == "hypernetworks":  # no layer has a KL divergence
        needed.remove("kl")
    assert needed <= set(recipe.sources), needed - set(recipe.sources)
    assert all(recipe.sources.values())
    text = recipe.describe(sources=True)
    assert all(source in text for source in recipe.sources.values())
    assert all(note in text for note in recipe.notes)


# As the publications have them: rates in each epoch named, of so many.
RATES = {
    ("wide_resnet", "cifar10"): (
        800,
        {0: 0.1, 319: 0.1, 320: 0.02, 480: 0.004, 639: 0.004, 640: 0.0008, 799: 0.0008},
    ),
    ("wide_resnet", "cifar100"): (
        200,
        {0: 0.1, 59: 0.1, 60: 0.02, 120: 0.004, 160: 0.0008, 199: 0.0008},
    ),
    ("wide_resnet", "svhn_cropped"): (
        160,
        {0: 0.01, 79: 0.01, 80: 0.001, 119: 0.001, 120: 0.0001, 159: 0.0001},
    ),
    ("resnext", "cifar10"): (
        900,
        {0: 0.1, 449: 0.1, 450: 0.01, 674: 0.01, 675: 0.001, 899: 0.001},
    ),
    ("pyramidnet", "cifar10"): (
        600,
        {0: 0.1, 299: 0.1, 300: 0.01, 449: 0.01, 450: 0.001, 599: 0.001},
    ),
    ("pyramidnet", "cifar100"): (300, {0: 0.5, 149: 0.5, 150: 0.05, 225: 0.005}),
    ("resnet", "imagenet2012"): (
        90,
        {0: 0.1, 29: 0.1, 30: 0.01, 59: 0.01, 60: 0.001, 89: 0.001},
    ),
}


@pytest.mark.parametrize("key", RATES)
def test_rates_are_those_of_the_study(key):
    epochs, rates = RATES[key]
    recipe = RECIPES[key]
    assert recipe.epochs == epochs
    model = recipe.compile(classifier(), epochs, STEPS)
    optimizer = model.optimizer
    assert (optimizer.momentum, optimizer.nesterov) == (0.9, True)
    for epoch, rate in rates.items():
        for step in (epoch * STEPS, epoch * STEPS + STEPS - 1):
            found = to_numpy(optimizer._learning_rate(ops.convert_to_tensor(step)))
            assert found == pytest.approx(rate, rel=1e-5), (epoch, step)


def test_decays_are_those_of_the_studies():
    found = {
        name: recipe.compile(classifier(), 4, 4).optimizer.coupled_decay
        for name, recipe in NAMED_RECIPES.items()
    }
    assert {name for name, x in found.items() if x == 1e-4} == {
        "pyramidnet-cifar10",
        "pyramidnet-cifar100",
        "resnet-imagenet",
        "resnet-imagenet-he",
    }
    assert found["resnext-cifar10"] == found["pyramidnet-cifar10-4.1"] == 5e-4
    assert found["mnf"] == found["bayesian-cnn-code"] == 0


def test_arguments_take_the_place_of_the_recipes_numbers():
    recipe = RECIPES["resnext", "cifar10"]

    def rate(**options):
        optimizer = recipe.compile(classifier(), 4, 4, **options).optimizer
        return [
            float(to_numpy(optimizer._learning_rate(ops.convert_to_tensor(step))))
            for step in (0, 15)
        ]

    np.testing.assert_allclose(rate(batch_size=32), [0.025, 0.00025], rtol=1e-5)
    np.testing.assert_allclose(rate(learning_rate=1.0), [1, 0.01], rtol=1e-5)
    both = rate(batch_size=32, learning_rate=1.0)
    np.testing.assert_allclose(both, [1, 0.01], rtol=1e-5)
    kept = RECIPES["wide_resnet", "cifar10"].compile(classifier(), 4, 4, batch_size=32)
    assert float(to_numpy(kept.optimizer.learning_rate)) == pytest.approx(0.1)
    options = {"weight_decay": 0.0, "decay_generator": False}
    optimizer = recipe.compile(classifier(), 4, 4, **options).optimizer
    assert optimizer.coupled_decay == 0
    assert set(optimizer.no_decay_roles) == {"posterior", "generator"}
    assert recipe.compile(classifier(), 4, 4).optimizer.no_decay_roles == ("posterior",)


def test_top_5_of_many_classes():
    x, y = np.ones((4, 5), "float32"), np.arange(4)
    for classes, there in ((99, False), (100, True)):
        model = RECIPES["resnet", "imagenet2012"].compile(classifier(classes), 1, 1)
        found = model.evaluate(x, y, verbose=0, return_dict=True)
        assert ("top_5_accuracy" in found) is there


def test_first_weights_are_those_of_the_study():
    images = {"input_shape": (8, 8, 3), "kit": "deterministic"}
    model = models.resnext(20, 4, 16, **images)
    assert RECIPES["resnext", "cifar10"].initialize(model, seed=3) is model
    # Grouped: 16 channels of a group come in, all 64 go out.
    kernel = to_numpy(model.get_layer("stage1_block1_conv2").kernel)
    assert kernel.shape == (3, 3, 16, 64)
    # Of 9,216 numbers; the deviation of a deviation is 0.7 %.
    assert kernel.std() == pytest.approx(np.sqrt(2 / (9 * 64)), rel=0.05)
    dense = model.get_layer("logits")
    bound = 1 / np.sqrt(dense.kernel.shape[0])
    weights = to_numpy(dense.kernel)
    assert 0.95 * bound < abs(weights).max() <= bound
    assert weights.std() == pytest.approx(bound / np.sqrt(3), rel=0.05)
    assert not to_numpy(dense.bias).any()
    norms = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
    assert all((to_numpy(x.gamma) == 1).all() for x in norms)

    model = models.wide_resnet(10, 2, **images)
    RECIPES["wide_resnet", "cifar10"].initialize(model, seed=3)
    kernel = to_numpy(model.get_layer("stage3_block1_conv1").kernel)
    assert kernel.std() == pytest.approx(np.sqrt(2 / (9 * 64)), rel=0.05)
    gamma = np.concatenate(
        [
            to_numpy(x.gamma)
            for x in model.layers
            if isinstance(x, keras.layers.BatchNormalization)
        ]
    )
    assert 0 < gamma.min() < 0.05 and 0.95 < gamma.max() < 1
    assert gamma.mean() == pytest.approx(0.5, abs=0.05)
    twin = models.wide_resnet(10, 2, **images)
    RECIPES["wide_resnet", "cifar10"].initialize(twin, seed=3)
    for a, b in zip(model.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_generators_and_posteriors_keep_their_first_weights():
    for kit in (kits.hyper(mean_kernel=True, seed=1), kits.bayes(10, seed=1)):
        model = models.wide_resnet(10, 1, input_shape=(8, 8, 3), kit=kit)
        before = {v.path: to_numpy(v) for v in model.variables}
        RECIPES["wide_resnet", "cifar10"].initialize(model)
        changed = {
            v.path.split("/")[-1]
            for v in model.variables
            if not np.array_equal(to_numpy(v), before[v.path])
        }
        plain = {"gamma", "kernel"} if kit.name == "hyper" else {"gamma"}
        mean = {"mean_kernel"} if kit.name == "hyper" else set()
        assert changed == plain | mean


def test_unknown_combinations_say_what_they_fall_back_to():
    found = recipe_for("wide_resnet", "fashion_mnist")
    assert (found.name, found.data.crop_padding) == ("wrn-cifar10", "reflect")
    # Three channels' statistics are not those of grey images.
    assert found.data.mean is None and found.data.std is None
    text = found.describe()
    assert "as nothing is known of wide_resnet on fashion_mnist" in text

    found = recipe_for("resnext", "svhn_cropped")
    assert found.name == "resnext-cifar10"
    assert found.data == RECIPES["wide_resnet", "svhn_cropped"].data
    assert recipe_for("users_own", "users_own").name == "wrn-cifar10"
    assert recipe_for("users_own", "imagenet2012").name == "resnet-imagenet"
    assert recipe_for("lenet5", "fashion_mnist").name == "bayesian-cnn"
    assert recipe_for("lenet5", "fashion_mnist").data.mean == (0.0,)

    for key, recipe in RECIPES.items():
        assert recipe_for(*key) is recipe
        assert "nothing is known" not in recipe.describe()


def test_kits_with_a_study_of_their_own():
    assert recipe_for("lenet5", "mnist", "mnf") is NAMED_RECIPES["mnf"]
    found = recipe_for("wide_resnet", "cifar10", "static_hypernet")
    assert found is NAMED_RECIPES["hypernetworks"]
    assert recipe_for("wide_resnet", "cifar10", "mnf").name == "wrn-cifar10"
    model = models.wide_resnet(10, 1, input_shape=(8, 8, 3), kit="static_hypernet")
    found.compile(model, 8, 4)
    rate = model.optimizer._learning_rate
    rates = [float(to_numpy(rate(ops.convert_to_tensor(4 * e)))) for e in (0, 2, 4, 6)]
    np.testing.assert_allclose(rates, [0.002, 0.001, 0.0002, 0.00005], rtol=1e-5)
    # The penalty on the kernels that are generated, beside the cross-entropy.
    model(np.zeros((1, 8, 8, 3), "float32"))
    layers = [
        x for x in model.layers if isinstance(x, tfhyper.layers.StaticHyperConv2D)
    ]
    assert len(layers) == 6 and len(model.losses) == 6
    total = 0.0
    predictor = tfhyper.PosteriorPredictor(model, 1, batch_norm="moving_average")
    plain = predictor.materialize(0)
    for layer in layers:
        (kernel, *_) = plain.get_layer(layer.name).get_weights()
        total += 5e-6 / 2 * np.sum(kernel.astype("float64") ** 2)
    assert float(sum(map(to_numpy, model.losses))) == pytest.approx(total, rel=1e-4)


def test_schedules_of_the_kl_divergence():
    (blundell,) = NAMED_RECIPES["bayesian-cnn"].callbacks()
    assert isinstance(blundell, training.BlundellKL)
    for name, factor in (("bayesian-cnn-code", 0.1), ("mnf", 1.0)):
        (schedule,) = NAMED_RECIPES[name].callbacks()
        assert schedule.factor(0, 0, 1) == factor


def test_images_are_loaded_as_the_recipe_says():
    pytest.importorskip("tensorflow")
    recipe = recipe_for("lenet5", "fashion_mnist_small")
    data = tfhyper.data.load(
        "fashion_mnist_small", train_examples=20, **recipe.data.load_options()
    )
    images, _ = next(iter(data.epoch(0)))
    assert float(ops.min(images)) == 0 and 0.9 < float(ops.max(images)) <= 1


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda r: r.compile("model", 1, 1), TypeError, "`model` must be a Keras"),
        (lambda r: r.compile(classifier(), 0, 1), ValueError, "`epochs` must be"),
        (lambda r: r.compile(classifier(), 1, 0), ValueError, "`steps_per_epoch`"),
        (
            lambda r: r.compile(classifier(), 1, 1, batch_size=0),
            ValueError,
            "`batch_size` must be.*batch_size=0",
        ),
        (
            lambda r: r.compile(classifier(), 1, 1, learning_rate=0),
            ValueError,
            "`learning_rate` must be",
        ),
        (
            lambda r: r.compile(classifier(), 1, 1, weight_decay=-1),
            ValueError,
            "`weight_decay` must be",
        ),
        (lambda r: r.initialize(classifier(), -1), ValueError, "`seed` must be"),
        (
            lambda r: r.initialize(keras.Sequential([keras.layers.Dense(1)])),
            ValueError,
            "`model` must be built",
        ),
        (
            lambda r: dataclasses.replace(r, drops=(0.5,)),
            ValueError,
            "`rates` must have one entry more than `drops`",
        ),
        (
            lambda r: dataclasses.replace(r, rates=(0.1, -1, 1, 1)),
            ValueError,
            "`rates` must be",
        ),
        (
            lambda r: training.InitialValues("sideways"),
            ValueError,
            "`fan` must be one of",
        ),
        (lambda r: recipe_for(3, "cifar10"), TypeError, "`network` must be text"),
    ],
)
def test_errors_name_argument_rule_and_value(call, error, message):
    with pytest.raises(error, match=message):
        call(RECIPES["wide_resnet", "cifar10"])
