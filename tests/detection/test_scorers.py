"""Scorers beside SciPy, scikit-learn and the papers' formulas, on the same features."""

import keras
import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis
from scipy.special import logsumexp, softmax
from scipy.stats import multivariate_normal
from sklearn.covariance import LedoitWolf
from sklearn.discriminant_analysis import QuadraticDiscriminantAnalysis
from sklearn.neighbors import NearestNeighbors

import tfhyper
from tfhyper import detection, layers

RNG = np.random.default_rng(0)
Y = np.arange(240) % 3
X = (RNG.normal(size=(240, 4)) + Y[:, None]).astype("float32")
FEW = (2 * RNG.normal(size=(20, 4))).astype("float32")
SIZE = 6


def network(layer=keras.layers.Dense, tail=None, seed=0):
    """Returns a small classifier whose features are of all signs."""
    keras.utils.set_random_seed(seed)
    tail = [keras.layers.Dense(3, name="logits")] if tail is None else tail
    hidden = layer(SIZE, activation="tanh", name="hidden")
    model = keras.Sequential([keras.Input((4,)), hidden, *tail])
    for variable in model.weights:  # biases that are not 0
        if variable.name == "bias":
            variable.assign(RNG.normal(size=variable.shape))
    return model


def makers():
    """Returns name -> function that makes a predictor."""
    point = keras.layers.Dense
    return {
        "plain": lambda: network(),
        "softmax": lambda: network(
            tail=[keras.layers.Dense(3, activation="softmax", name="logits")]
        ),
        "softmax layer": lambda: network(
            tail=[keras.layers.Dense(3, name="logits"), keras.layers.Softmax()]
        ),
        "gaussian": lambda: tfhyper.PosteriorPredictor(
            network(layers.BayesDense, [layers.BayesDense(3, name="logits")]), 3
        ),
        "generated": lambda: tfhyper.PosteriorPredictor(network(layers.HyperDense), 3),
        "ensemble": lambda: tfhyper.DeepEnsemble(
            [network(point, seed=1), network(point, seed=2)]
        ),
        "all weights": lambda: tfhyper.PosteriorPredictor(
            tfhyper.Variational(network(), len(X), seed=0), 3
        ),
    }


MADE = {}


def predictor_of(name):
    if name not in MADE:
        MADE[name] = makers()[name]()
    return MADE[name]


def draws_of(name):
    """Returns the plain network of each draw, as a model of features and one of all."""
    made = predictor_of(name)
    if isinstance(made, keras.Model):
        made = tfhyper.PosteriorPredictor(made)
    found = []
    for i in range(made.num_networks):
        plain = made.materialize(i)
        last = [x for x in plain.layers if isinstance(x, keras.layers.Dense)][-1]
        found.append((keras.Model(plain.input, last.input), last, plain))
    return found


def of(model, x):
    return keras.ops.convert_to_numpy(model(x)).astype("float64")


def logits_of(last, features):
    kernel, bias = (keras.ops.convert_to_numpy(w) for w in last.weights)
    return features @ kernel.astype("float64") + bias


def covariance(features, labels):
    """Returns the covariance within the classes, with the shrinkage of 1e-6."""
    centred = (
        features - np.stack([features[labels == c].mean(0) for c in range(3)])[labels]
    )
    found = np.cov(centred.T, bias=True)
    return found + 1e-6 * np.trace(found) / len(found) * np.eye(len(found))


def nearest(train, few):
    inverse = np.linalg.inv(covariance(train, Y))
    means = [train[Y == c].mean(0) for c in range(3)]
    return [min(mahalanobis(f, m, inverse) ** 2 for m in means) for f in few]


def relative(train, few):
    whole = np.cov(train.T, bias=True)
    whole += 1e-6 * np.trace(whole) / len(whole) * np.eye(len(whole))
    inverse = np.linalg.inv(whole)
    far = [mahalanobis(f, train.mean(0), inverse) ** 2 for f in few]
    return np.subtract(nearest(train, few), far)


def neighbours(train, few):
    known, seen = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (train, few))
    found = [np.sort(np.linalg.norm(known - one, axis=-1))[9] for one in seen]
    index = NearestNeighbors(n_neighbors=10, algorithm="brute").fit(known)
    np.testing.assert_allclose(found, index.kneighbors(seen)[0][:, -1], atol=1e-9)
    return found


def density(train, few):
    logs = []
    for c in range(3):
        own = train[Y == c]
        gaussian = multivariate_normal(own.mean(0), LedoitWolf().fit(own).covariance_)
        logs.append(np.log(np.mean(Y == c)) + gaussian.logpdf(few))
    return -logsumexp(logs, axis=0)


def virtual_logit(train, few, last):
    """Follows the paper: equations 4 to 8, by a singular value decomposition."""
    kernel, bias = (keras.ops.convert_to_numpy(w).astype(float) for w in last.weights)
    origin = -np.linalg.lstsq(kernel.T, bias, rcond=None)[0]
    *_, directions = np.linalg.svd(train - origin, full_matrices=True)
    main = directions[:4]

    def residual(x):
        moved = x - origin
        return np.linalg.norm(moved - moved @ main.T @ main, axis=-1)

    alpha = logits_of(last, train).max(-1).mean() / residual(train).mean()
    odds = softmax(
        np.column_stack([logits_of(last, few), alpha * residual(few)]), axis=-1
    )[:, -1]
    return np.log(odds / (1 - odds))


def rectified(train, few, last):
    cut = np.sort(train, axis=None)
    cut = np.interp(0.8 * (cut.size - 1), np.arange(cut.size), cut)
    return -2 * logsumexp(logits_of(last, np.minimum(few, cut)) / 2, axis=-1)


# Scorer, and its score of features by hand: of training inputs, of others, last layer.
OF_FEATURES = {
    "mahalanobis": (
        lambda: detection.Mahalanobis(),
        lambda train, few, last: nearest(train, few),
    ),
    "relative_mahalanobis": (
        lambda: detection.RelativeMahalanobis(),
        lambda train, few, last: relative(train, few),
    ),
    "nearest_neighbours": (
        lambda: detection.NearestNeighbours(k=10),
        lambda train, few, last: neighbours(train, few),
    ),
    "feature_density": (
        lambda: detection.FeatureDensity(),
        lambda train, few, last: density(train, few),
    ),
    "vim": (lambda: detection.ViM(dimensions=4), virtual_logit),
    "react": (lambda: detection.ReAct(percentile=80.0, temperature=2.0), rectified),
    "energy": (
        lambda: detection.Energy(temperature=0.5),
        lambda train, few, last: (
            -0.5 * np.log(np.exp(2 * logits_of(last, few)).sum(-1))
        ),
    ),
    "max_logit": (
        lambda: detection.MaxLogit(),
        lambda train, few, last: -np.sort(logits_of(last, few))[:, -1],
    ),
}


@pytest.mark.parametrize("name", OF_FEATURES)
@pytest.mark.parametrize("made", makers())
def test_scores_of_features_are_the_mean_of_those_by_hand(name, made):
    make, by_hand = OF_FEATURES[name]
    scorer = make()
    assert scorer.fit(predictor_of(made), X, Y) is scorer
    expected = np.mean(
        [
            by_hand(of(features, X), of(features, FEW), last)
            for features, last, _ in draws_of(made)
        ],
        axis=0,
    )
    found = scorer.score(FEW, batch_size=7)
    assert found.shape == (20,) and found.dtype == np.float64
    # Features are of float32.
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("made", ["gaussian", "ensemble", "softmax"])
def test_scores_of_probabilities_are_those_by_hand(made):
    members = []
    for *_, plain in draws_of(made):
        found = of(plain, FEW)
        members.append(found if made == "softmax" else softmax(found, -1))
    members = np.stack(members)
    mean = members.mean(0)

    def entropy(probs):
        return -(probs * np.log(probs)).sum(-1)

    pairs = [
        (first.argmax(-1) != second.argmax(-1)).astype(float)
        for i, first in enumerate(members)
        for second in members[:i]
    ]
    expected = {
        detection.MaxProbability: 1 - mean.max(-1),
        detection.Entropy: entropy(mean),
    }
    if len(members) > 1:
        expected[detection.MutualInformation] = entropy(mean) - entropy(members).mean(0)
        expected[detection.Disagreement] = np.mean(pairs, axis=0)
    for kind, by_hand in expected.items():
        found = kind().fit(predictor_of(made)).score(FEW)
        np.testing.assert_allclose(found, by_hand, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(kind.of_members(members), by_hand, atol=1e-6)


def test_the_density_is_that_of_quadratic_discriminants():
    # Features that are the inputs themselves.
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    scorer = detection.FeatureDensity(shrinkage=0.0).fit(model, X, Y)
    logs = []
    for c in range(3):
        own = X[Y == c].astype("float64")
        gaussian = multivariate_normal(own.mean(0), np.cov(own.T, bias=True))
        logs.append(np.log(1 / 3) + gaussian.logpdf(FEW))
    np.testing.assert_allclose(scorer.score(FEW), -logsumexp(logs, axis=0), rtol=1e-5)
    # Its parts are the rule's classes, but for a divisor of one example less.
    rule = QuadraticDiscriminantAnalysis().fit(X, Y)
    assert (np.argmax(logs, axis=0) == rule.predict(FEW)).mean() > 0.9


@pytest.mark.parametrize("name", ["mahalanobis", "energy", "entropy"])
def test_datasets_and_arrays_give_the_same(name):
    tf = pytest.importorskip("tensorflow")
    made = predictor_of("gaussian")
    kind = detection.SCORERS[name]
    arrays = kind().fit(made, X, Y)
    data = tf.data.Dataset.from_tensor_slices((X, Y)).batch(50)
    batches = kind().fit(made, data, verbose=0)
    few = tf.data.Dataset.from_tensor_slices(FEW).batch(6)
    np.testing.assert_allclose(batches.score(few), arrays.score(FEW), rtol=1e-4)


def test_features_of_a_named_layer_are_means_over_positions():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((5, 5, 1)),
            keras.layers.Conv2D(3, 2, activation="relu", name="conv"),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
        ]
    )
    images = RNG.normal(size=(240, 5, 5, 1)).astype("float32") + Y[:, None, None, None]
    conv = keras.Model(model.inputs, model.get_layer("conv").output)
    train = of(conv, images).mean((1, 2))
    scorer = detection.Mahalanobis(layer="conv").fit(model, images, Y)
    found = scorer.score(images[:10])
    np.testing.assert_allclose(found, nearest(train, train[:10]), rtol=2e-3)


def test_a_model_without_a_last_dense_layer_needs_a_name():
    model = keras.Sequential(
        [
            keras.Input((5, 1)),
            keras.layers.Conv1D(3, 2, name="conv"),
            keras.layers.GlobalAveragePooling1D(name="pool"),
        ]
    )
    series = RNG.normal(size=(240, 5, 1)).astype("float32")
    with pytest.raises(ValueError, match="`layer` must name the layer"):
        detection.Mahalanobis().fit(model, series, Y)
    with pytest.raises(ValueError, match="`layer` must be the name of a layer"):
        detection.Mahalanobis(layer="absent").fit(model, series, Y)
    named = detection.Mahalanobis(layer="pool", shrinkage=None).fit(model, series, Y)
    assert np.isfinite(named.score(series[:4])).all()
    with pytest.raises(ValueError, match="`layer` must name the layer"):
        detection.ViM().fit(model, series)


def test_logits_behind_something_else_are_refused():
    tail = [keras.layers.Dense(3), keras.layers.LayerNormalization()]
    model = network(tail=tail)
    for scorer in (detection.ViM(dimensions=2), detection.ReAct()):
        with pytest.raises(ValueError, match="`predictor` must have networks that end"):
            scorer.fit(model, X)
    # Of logits as they are it needs nothing else.
    expected = -logsumexp(of(model, FEW), axis=-1)
    np.testing.assert_allclose(
        detection.Energy().fit(model).score(FEW), expected, rtol=1e-4
    )


def test_the_threshold_keeps_to_its_rate():
    scorer = detection.Energy().fit(predictor_of("gaussian"))
    for rate in (0.05, 0.3):
        threshold = scorer.threshold(X, rate)
        assert (scorer.score(X) > threshold).mean() == pytest.approx(rate, abs=1 / 240)
    assert not (scorer.score(X) > scorer.threshold(X, 0.0)).any()
    with pytest.raises(ValueError, match="`false_positive_rate` must be in"):
        scorer.threshold(X, 1.0)
    with pytest.raises(ValueError, match="`x_val` must"):
        scorer.threshold(X[:, :2])


def test_fewer_examples_than_features_need_a_shrinkage():
    made = predictor_of("plain")
    few, labels = X[:7], Y[:7]
    for kind in (detection.Mahalanobis, detection.RelativeMahalanobis):
        with pytest.raises(ValueError, match="`shrinkage` must be None, or 0.001"):
            kind().fit(made, few, labels)
        for shrinkage in (None, 0.1):
            found = kind(shrinkage=shrinkage).fit(made, few, labels).score(FEW)
            assert np.isfinite(found).all()
    with pytest.raises(ValueError, match="`shrinkage` must be None, or 0.001"):
        detection.FeatureDensity(shrinkage=0.0).fit(made, few, labels)
    assert np.isfinite(detection.FeatureDensity().fit(made, few, labels).score(FEW)[0])


def test_a_singular_covariance_is_refused_or_shrunk():
    model = network(tail=[keras.layers.ReLU(max_value=0.0), keras.layers.Dense(3)])
    with pytest.raises(ValueError, match="`x_train` must give features that differ"):
        detection.Mahalanobis().fit(model, X, Y)
    # One feature twice.
    inputs = keras.Input((4,))
    twice = keras.layers.Concatenate()([inputs, inputs])
    model = keras.Model(inputs, keras.layers.Dense(3)(twice))
    with pytest.raises(ValueError, match="`shrinkage` must be None or above 0"):
        detection.Mahalanobis(shrinkage=0.0).fit(model, X, Y)
    for shrinkage in (None, 1e-6):
        scorer = detection.Mahalanobis(shrinkage=shrinkage).fit(model, X, Y)
        assert np.isfinite(scorer.score(FEW)).all()


@pytest.mark.parametrize(
    ("kind", "arguments", "message"),
    [
        ("Mahalanobis", (), "`x_train` must hold training inputs"),
        ("Mahalanobis", (X,), "`y_train` must hold the labels"),
        ("Mahalanobis", (X, Y[:5]), "`y_train` must hold a label for each"),
        ("Mahalanobis", (X, 0 * Y), "`y_train` must hold labels of two classes"),
        ("Mahalanobis", (X, Y + 7), "`y_train` must hold"),
        ("Mahalanobis", (X, Y + 0.5), "`y_train` must hold"),
        ("Mahalanobis", (X[:, :3], Y), "`x_train` must have the shape"),
        ("Mahalanobis", (X * np.nan, Y), "`x_train` must be finite"),
        ("NearestNeighbours", (X[:20],), "`k` must not be above"),
        ("ViM", (X[:1],), "`x_train` must hold 2 examples"),
        ("FeatureDensity", (X[:4], Y[:4]), "`y_train` must hold two examples"),
        ("Energy", (None, Y), "`y_train` needs inputs"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_bad_training_data_are_named(kind, arguments, message):
    with pytest.raises(ValueError, match=message):
        getattr(detection, kind)().fit(predictor_of("plain"), *arguments)


@pytest.mark.parametrize(
    "make",
    [
        lambda: detection.Mahalanobis(shrinkage=-1.0),
        lambda: detection.Mahalanobis(num_draws=0),
        lambda: detection.NearestNeighbours(k=0),
        lambda: detection.NearestNeighbours(max_examples=0),
        lambda: detection.ViM(dimensions=0),
        lambda: detection.ReAct(percentile=101.0),
        lambda: detection.Energy(temperature=0.0),
    ],
    ids=["shrinkage", "num_draws", "k", "max_examples", "dimensions", "cut", "energy"],
)
def test_bad_arguments_are_named(make):
    with pytest.raises(ValueError, match=r"`\w+` must be"):
        make()


def test_what_is_no_classifier_is_refused():
    regression = tfhyper.PosteriorPredictor(network(), outputs="mean")
    with pytest.raises(ValueError, match="`predictor` must be a classifier"):
        detection.Entropy().fit(regression)
    pixels = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Conv2D(3, 1)])
    with pytest.raises(ValueError, match="`predictor` must be a classifier"):
        detection.Entropy().fit(pixels)
    with pytest.raises(TypeError, match="`predictor` must be"):
        detection.Entropy().fit("predictor")
    with pytest.raises(ValueError, match="`predictor` must be a `tfhyper.Posterior"):
        detection.Entropy().fit(network(layers.BayesDense))
    with pytest.raises(ValueError, match="`predictor` must have 2 draws"):
        detection.MutualInformation().fit(network())
    link = tfhyper.PosteriorPredictor(network(), link="normalized_softplus")
    with pytest.raises(ValueError, match='`predictor` must have `link="softmax"`'):
        detection.Energy().fit(link)
    with pytest.raises(ValueError, match="must be fitted: call `fit`"):
        detection.Entropy().score(X)


def test_other_draws_and_other_weights_are_noticed():
    model = keras.Sequential(
        [
            keras.Input((4,)),
            layers.BayesDense(SIZE, activation="tanh"),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(3),
        ]
    )
    made = tfhyper.PosteriorPredictor(model, 2).estimate_batch_norm(X, verbose=0)
    scorer = detection.Mahalanobis().fit(made, X, Y)
    before = scorer.score(FEW)
    made.estimate_batch_norm(X[:100], verbose=0)
    with pytest.raises(ValueError, match="must be fitted to the predictor's present"):
        scorer.score(FEW)
    assert np.abs(scorer.fit(made, X, Y).score(FEW) - before).max() > 0
    model.layers[-1].bias.assign(np.ones(3))
    for fitted in (scorer, detection.Energy().fit(network())):
        if fitted is scorer:
            with pytest.raises(ValueError, match="was trained since"):
                fitted.score(FEW)


def test_draws_inside_of_one_network_give_what_they_have():
    made = tfhyper.PosteriorPredictor(
        network(layers.BayesDense), 3, averaging="widening"
    )
    assert detection.Mahalanobis().fit(made, X, Y).score(FEW).shape == (20,)
    mean = made.predict(FEW).mean
    np.testing.assert_allclose(
        detection.MaxProbability().fit(made).score(FEW), 1 - mean.max(-1), atol=1e-5
    )


def test_neighbours_of_a_part_of_the_inputs():
    scorer = detection.NearestNeighbours(k=5, max_examples=50, seed=3)
    scorer.fit(predictor_of("plain"), X)
    (features, *_) = draws_of("plain")[0]
    rows = np.sort(np.random.default_rng(3).choice(240, 50, replace=False))
    index = NearestNeighbors(n_neighbors=5).fit(
        of(features, X[rows])
        / np.linalg.norm(of(features, X[rows]), axis=-1, keepdims=True)
    )
    seen = of(features, FEW)
    expected = index.kneighbors(seen / np.linalg.norm(seen, axis=-1, keepdims=True))
    np.testing.assert_allclose(scorer.score(FEW), expected[0][:, -1], rtol=1e-3)


def test_ignored_labels_are_left_out():
    made = tfhyper.PosteriorPredictor(network(), ignore_class=-1)
    labels = np.where(np.arange(240) < 40, -1, Y)
    found = detection.Mahalanobis().fit(made, X, labels).score(FEW)
    expected = detection.Mahalanobis().fit(made, X[40:], Y[40:]).score(FEW)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
