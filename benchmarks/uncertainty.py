r"""Where a Bayesian network is uncertain, and how that changes with more data.

Two experiments with layers whose posterior is Gaussian, the KL divergence at its
full weight of 1 / N. A small network on two moons of points, as a map of the plane;
and a convolutional one on N images, for several N and equally many steps of
training, asked about test images, about the same turned and inverted, and about
noise. One figure and one JSON; about two minutes on two cores:

    python benchmarks/uncertainty.py

On noise the network's ReLUs stay off, and its logits come out near zero in every
draw (`logit_deviation`): the draws agree on "any class", which the decomposition
books as aleatoric. So epistemic uncertainty alone does not find such inputs; the
total does.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from absl import app, flags
from report import markdown_table, provenance, write_figure, write_json

import tfhyper
from tfhyper import analysis, layers, metrics
from tfhyper.analysis import _figures

FLAGS = flags.FLAGS
flags.DEFINE_list("sizes", ["250", "1000", "4000", "10000"], "Numbers N of images.")
flags.DEFINE_integer("test_examples", 1000, "First so many test images.")
flags.DEFINE_integer("steps", 1500, "Training steps of each network, for every N.")
flags.DEFINE_integer("batch_size", 64, "Examples in a batch.")
flags.DEFINE_integer("points", 200, "Points of the two moons.")
flags.DEFINE_integer("draws", 32, "Draws that are averaged.")
flags.DEFINE_integer("seed", 0, "Seed of data, weights, noise and draws.")
flags.DEFINE_string("output", "benchmarks/results/uncertainty.json", "The JSON.")
flags.DEFINE_string("figure", "examples/figures/uncertainty.png", "The figure.")

COLORS = {
    "test": _figures.BLUE,
    "rotated": _figures.VERMILION,
    "inverted": _figures.GREEN,
    "noise": _figures.GREY,
}


def two_moons(size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns points on two half circles that reach into each other, with noise."""
    rng = np.random.default_rng(seed)
    labels = np.arange(size) % 2
    angle = rng.uniform(0, np.pi, size)
    upper = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    points = np.where(labels[:, None] == 0, upper, [1.0, 0.5] - upper)
    points = points + rng.normal(scale=0.2, size=points.shape)
    return points.astype("float32"), labels


def moons_network(num_train: int) -> keras.Model:
    options = {"initial_scale": 0.1, **posterior(num_train)}
    return keras.Sequential(
        [
            keras.Input((2,)),
            layers.BayesDense(16, activation="relu", seed=1, **options),
            layers.BayesDense(16, activation="relu", seed=2, **options),
            layers.BayesDense(2, seed=3, **options),
        ]
    )


def image_network(num_train: int) -> keras.Model:
    """Returns LeNet-5's convolutions and one dense layer."""
    # The scale of the prior is that of He's kernels in these layers, 0.1 to 0.3. The
    # evidence lower bound is better with it than with 1, at every N.
    options = {"prior_scale": 0.3, "initial_scale": 0.3, **posterior(num_train)}
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.BayesConv2D(6, 5, activation="relu", seed=1, **options),
            keras.layers.MaxPooling2D(),
            layers.BayesConv2D(12, 5, activation="relu", seed=2, **options),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            layers.BayesDense(10, seed=3, **options),
        ]
    )


def posterior(num_train: int) -> dict:
    return {
        "kl_weight": 1 / num_train,
        "estimator": "local_reparameterization",
        "bias_posterior": "gaussian",
    }


def trained(build, x, y) -> tuple[tfhyper.PosteriorPredictor, dict]:
    """Returns the predictor of a network, and how well its training ended."""
    keras.utils.set_random_seed(FLAGS.seed)
    model = build(len(x))
    rate = keras.optimizers.schedules.CosineDecay(0.01, FLAGS.steps)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(rate), loss, metrics=["accuracy"])
    # The last tenth of the training says how it ended.
    last = max(1, FLAGS.steps // 10)
    batches = shuffled_batches(x, y)
    for steps in (FLAGS.steps - last, last):
        fit = model.fit(batches, steps_per_epoch=steps, shuffle=False, verbose=0)
    kl = sum(float(k.kl_divergence()) for k in layers.variational_layers(model))
    ended = {
        "parameters": model.count_params(),
        "train_accuracy": fit.history["accuracy"][-1],
        "negative_bound": fit.history["loss"][-1],
        "kl_per_example": kl / len(x),
    }
    predictor = tfhyper.PosteriorPredictor(model, FLAGS.draws, seed=FLAGS.seed)
    return predictor, ended


def shuffled_batches(x, y):
    """Yields batches without end, shuffled anew in each epoch."""
    rng = np.random.default_rng(FLAGS.seed)
    size = min(FLAGS.batch_size, len(x))
    while True:
        order = rng.permutation(len(x))
        for start in range(0, len(x) - size + 1, size):
            rows = order[start : start + size]
            yield x[rows], y[rows]


def shifted(images: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the images, and what no training image looks like."""
    low, high = images.min(), images.max()
    noise = np.random.default_rng(FLAGS.seed).uniform(low, high, images.shape)
    return {
        "test": images,
        "rotated": np.ascontiguousarray(np.rot90(images, axes=(1, 2))),
        "inverted": low + high - images,
        "noise": noise.astype("float32"),
    }


def run_sizes(sizes: list[int]) -> dict:
    """Returns, for each N, the scores of its network and its uncertainties."""
    data = tfhyper.data.load_arrays(
        "fashion_mnist_small", test_examples=FLAGS.test_examples
    )
    (x_train, y_train), (x_test, y_test) = data
    results = {}
    for size in sizes:
        predictor, scores = trained(image_network, x_train[:size], y_train[:size])
        scores["uncertainty"] = {}
        for name, images in shifted(x_test).items():
            prediction = predictor.predict(images)
            if name == "test":
                scores |= metrics.classification_report(y_test, prediction.mean)
            scores["uncertainty"][name] = summary(prediction)
        results[str(size)] = scores
        print(f"N={size}: error {scores['error']:.3f}", flush=True)
    return results


def summary(prediction: tfhyper.Prediction) -> dict:
    """Returns means over the examples, in nats and of the covariances' traces."""
    # Up to a constant for each example, the logarithms are the logits.
    logits = np.log(np.maximum(prediction.members, 1e-30))
    return {
        "epistemic": float(prediction.epistemic.mean()),
        "aleatoric": float(prediction.aleatoric.mean()),
        "epistemic_trace": float(prediction.variance.epistemic.sum(-1).mean()),
        "aleatoric_trace": float(prediction.variance.aleatoric.sum(-1).mean()),
        "logit_deviation": float(logits.std(axis=-1).mean()),
    }


def run_moons() -> tuple[dict, dict]:
    """Returns what the map is drawn from, and the scores of its network."""
    points, labels = two_moons(FLAGS.points, FLAGS.seed)
    predictor, scores = trained(moons_network, points, labels)
    x1, x2 = np.linspace(-4, 5, 91), np.linspace(-4, 4.5, 86)
    grid = np.stack([a.ravel() for a in np.meshgrid(x1, x2)], axis=-1)
    members = predictor.predict(grid.astype("float32"), batch_size=1024).members
    unseen, truth = two_moons(1000, FLAGS.seed + 1)
    prediction = predictor.predict(unseen)
    scores |= metrics.classification_report(truth, prediction.mean)
    far = np.linalg.norm(grid - [0.5, 0.25], axis=-1) > 3.5
    scores["uncertainty"] = {
        "test": {"epistemic": float(prediction.epistemic.mean())},
        "farther_than_3.5": {
            "epistemic": float(metrics.mutual_information(members[:, far]).mean())
        },
    }
    drawn = {"x1": x1, "x2": x2, "points": points, "labels": labels}
    return {"members": members, **drawn}, scores


def draw(moons: dict, results: dict):
    """Returns the figure: the map above, the curves over N below."""
    figure = _figures.new_figure((9.6, 5.8), None)
    upper, lower = figure.subfigures(2, 1)
    analysis.uncertainty_map(
        **moons, title=f"Two moons, {FLAGS.points} points", figure=upper
    )
    lower.suptitle("Fashion-MNIST: means over images, against training images N")
    sizes = [int(size) for size in results]
    for axes, part in zip(lower.subplots(1, 2), ("epistemic", "aleatoric")):
        for name, color in COLORS.items():
            values = [r["uncertainty"][name][part] for r in results.values()]
            axes.plot(sizes, values, "o-", color=color, label=name)
        axes.set_xscale("log")
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.minorticks_off()
        axes.set(xlabel="N", ylabel="nats", title=part.capitalize())
        axes.set_ylim(bottom=0)
        _figures.tidy(axes)
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def table(results: dict) -> str:
    """Returns the curves as a Markdown table."""
    rows = [
        [size, f"{100 * scores['error']:.1f}", f"{scores['nll']:.3f}"]
        + [
            f"{scores['uncertainty'][name]['epistemic']:.3f} / "
            f"{scores['uncertainty'][name]['aleatoric']:.3f}"
            for name in COLORS
        ]
        for size, scores in results.items()
    ]
    return markdown_table(["N", "error %", "NLL", *COLORS], rows)


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}")
    moons, moons_scores = run_moons()
    results = run_sizes([int(size) for size in FLAGS.sizes])
    print(f"Epistemic / aleatoric, in nats:\n{table(results)}")
    names = ("test_examples", "steps", "batch_size", "points", "draws", "seed")
    content = {
        "what": "epistemic and aleatoric uncertainty (nats) on and off the data",
        "data": "fashion_mnist_small; two moons",
        "settings": {name: FLAGS[name].value for name in names},
        **provenance(),
        "moons": moons_scores,
        "results": results,
    }
    write_json(FLAGS.output, content)
    write_figure(FLAGS.figure, draw(moons, results), 110)


if __name__ == "__main__":
    app.run(main)
