r"""Makes images by a Bayesian GAN, and shows what its draws do not agree on.

    python examples/bayesian_gan.py
    python examples/bayesian_gan.py --method=deterministic --workdir=runs/gan
    python examples/bayesian_gan.py --labels=100 --workdir=runs/gan100

Trains a DCGAN (tfhyper.gan.BayesianGAN) on the images of clothes that come with the
package. --method says what draws its two networks: Bayes by Backprop, hypernetworks, or
nothing. Writes samples, each row the same codes under the weights of another draw; the
discriminator's epistemic uncertainty for real, generated and foreign images; and
scores: Frechet distance, precision and recall in the features of a classifier that is
trained here, and how many classes it finds among the samples.

With --labels the discriminator has a logit for each class, and learns from so many
labelled images beside the others; its test error is told beside that of the classifier
trained on the labelled ones alone. A run that was stopped goes on when it is started
again with the same flags.
"""

import os

import keras
import numpy as np
from absl import flags

import tfhyper
from tfhyper import data, gan, kits, metrics, models, training
from tfhyper.cli.scripting import run, write_figure, write_json

FLAGS = flags.FLAGS
METHODS = ("bayes", "hyper", "deterministic")
# Flags that another run must have the same to go on in a workdir.
SETTINGS = (
    "method labels train_examples epochs batch_size width latent_dim learning_rate "
    "prior_scale kl_factor ema_momentum spectral_norm seed"
)
flags.DEFINE_enum("method", "bayes", METHODS, "What draws.")
flags.DEFINE_integer("labels", 0, "Labelled images; 0 for none.", lower_bound=0)
flags.DEFINE_integer("train_examples", 10_000, "Images to train on.", lower_bound=1)
flags.DEFINE_integer("test_examples", 2_500, "Images to test on.", lower_bound=8)
flags.DEFINE_integer("epochs", 20, "Epochs.", lower_bound=1)
flags.DEFINE_integer("batch_size", 64, "Images in a batch.", lower_bound=2)
flags.DEFINE_integer("width", 16, "Channels of the largest map.", lower_bound=1)
flags.DEFINE_integer("latent_dim", 32, "Size of a code.", lower_bound=1)
flags.DEFINE_float("learning_rate", 5e-4, "Rate of Adam.", lower_bound=0.0)
flags.DEFINE_float("prior_scale", 0.1, "Deviation of the prior of --method=bayes.")
flags.DEFINE_float("kl_factor", 0.1, "Factor of its KL divergence, 1 for Bayes' rule.")
flags.DEFINE_float("ema_momentum", 0.0, "Of an average of the generator's weights.")
flags.DEFINE_bool("spectral_norm", False, "In a deterministic discriminator.")
flags.DEFINE_integer("seed", 0, "Seed of weights, noise and data order.")
flags.DEFINE_integer("draws", 8, "Draws of each network.", lower_bound=2)
flags.DEFINE_integer("samples", 1_000, "Samples that are scored.", lower_bound=8)
flags.DEFINE_integer("classifier_epochs", 4, "Of the classifier.", lower_bound=1)
flags.DEFINE_string("workdir", "runs/gan", "Folder of the training and its results.")

CLASSES, SHOWN = 10, 12


def load():
    """Returns images in [-1, 1] and labels, to train and to test on."""
    spec = data.DATASETS["fashion_mnist_small"]
    train, test = data.load_arrays(
        "fashion_mnist_small",
        train_examples=FLAGS.train_examples,
        test_examples=FLAGS.test_examples,
    )

    def scaled(x):
        return np.clip((x * spec.std + spec.mean) * 2 - 1, -1, 1).astype("float32")

    return (scaled(train[0]), train[1]), (scaled(test[0]), test[1])


def make_kit(examples: int) -> kits.LayerKit:
    """Returns the kit of --method, for so many images."""
    if FLAGS.method == "bayes":
        return kits.bayes(examples, prior_scale=FLAGS.prior_scale, seed=FLAGS.seed)
    if FLAGS.method == "hyper":
        return kits.hyper("layer_wise", deviation_scale=0.3, seed=FLAGS.seed)
    return kits.deterministic()


def build(shape: tuple[int, int, int], examples: int) -> gan.BayesianGAN:
    """Returns both networks of the flags, compiled."""
    keras.utils.set_random_seed(FLAGS.seed)
    kit = make_kit(examples)
    model = gan.BayesianGAN(
        models.dcgan_generator(
            FLAGS.width, image_shape=shape, latent_dim=FLAGS.latent_dim, kit=kit
        ),
        models.dcgan_discriminator(
            FLAGS.width,
            input_shape=shape,
            num_classes=CLASSES if FLAGS.labels else 1,
            kit=kit,
            spectral_norm=FLAGS.spectral_norm,
        ),
        ema_momentum=FLAGS.ema_momentum or None,
        seed=FLAGS.seed,
    )
    model.compile(keras.optimizers.Adam(FLAGS.learning_rate, beta_1=0.5))
    return model


def few_labels(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns --labels images with their labels, as many of each class."""
    rng = np.random.default_rng(FLAGS.seed)
    rows = [rng.permutation(np.flatnonzero(y == c)) for c in range(CLASSES)]
    each, rest = divmod(FLAGS.labels, CLASSES)
    if rest or min(map(len, rows)) < each:
        raise ValueError(
            f"--labels must be a multiple of {CLASSES}, with as many images of each "
            f"class at most as there are. Received: --labels={FLAGS.labels}"
        )
    chosen = np.concatenate([r[:each] for r in rows])
    return x[chosen], y[chosen]


def classifier(x: np.ndarray, y: np.ndarray, epochs: int) -> keras.Model:
    """Returns a small classifier trained on images, with a layer `features`."""
    keras.utils.set_random_seed(FLAGS.seed)
    model = keras.Sequential(
        [
            keras.Input(x.shape[1:]),
            keras.layers.Conv2D(16, 3, strides=2, activation="relu"),
            keras.layers.Conv2D(32, 3, strides=2, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(64, activation="relu", name="features"),
            keras.layers.Dense(CLASSES),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(2e-3), loss, metrics=["accuracy"])
    model.fit(x, y, batch_size=64, epochs=epochs, verbose=0)
    return model


def generator_predictor(model: gan.BayesianGAN) -> tfhyper.PosteriorPredictor:
    """Returns what gives the images of each draw for the same codes."""
    draws = 1 if FLAGS.method == "deterministic" else FLAGS.draws
    network = model.averaged_generator or model.generator
    predictor = tfhyper.PosteriorPredictor(
        network, draws, outputs="mean", seed=FLAGS.seed
    )
    # BatchNorm's moments are those of each draw.
    codes = keras.ops.convert_to_numpy(model.codes(512, seed=FLAGS.seed + 1))
    return predictor.estimate_batch_norm(codes, verbose=0)


def discriminator_predictor(model: gan.BayesianGAN) -> tfhyper.PosteriorPredictor:
    """Returns what averages the discriminator over its draws."""
    return tfhyper.PosteriorPredictor(
        model.discriminator,
        1 if FLAGS.method == "deterministic" else FLAGS.draws,
        batch_norm="moving_average",
        outputs="logits" if FLAGS.labels else "label_logits",
        seed=FLAGS.seed,
    )


def sample_scores(real: np.ndarray, made: np.ndarray, judge: keras.Model) -> dict:
    """Returns the scores of generated images beside as many real ones."""
    features = keras.Model(judge.inputs, judge.get_layer("features").output)
    count = min(len(real), len(made))
    first, second = (
        features.predict(x[:count], batch_size=256, verbose=0) for x in (real, made)
    )
    found = metrics.sample_precision_recall(first, second)
    labels = judge.predict(made, batch_size=256, verbose=0).argmax(-1)
    return {
        "frechet_distance": metrics.frechet_distance(first, second),
        "precision": found.precision,
        "recall": found.recall,
        "modes": metrics.mode_count(labels, CLASSES),
    }


def foreign_images(x: np.ndarray) -> dict[str, np.ndarray]:
    """Returns images of kinds that are no clothes."""
    rng = np.random.default_rng(FLAGS.seed)
    flat = x.reshape(len(x), -1)
    order = rng.permuted(np.tile(np.arange(flat.shape[1]), (len(x), 1)), axis=1)
    return {
        "shuffled pixels": np.take_along_axis(flat, order, axis=1).reshape(x.shape),
        "uniform noise": rng.uniform(-1, 1, x.shape).astype("float32"),
    }


def grid(members: np.ndarray):
    """Returns the figure of samples: rows are draws, columns codes."""
    from matplotlib.figure import Figure

    rows, columns = members.shape[:2]
    figure = Figure(figsize=(columns * 0.6, rows * 0.6), layout="constrained")
    cells = figure.subplots(rows, columns, squeeze=False)
    for axes, image in zip(cells.flat, members.reshape(-1, *members.shape[2:])):
        axes.imshow((image + 1) / 2, cmap="gray", vmin=0, vmax=1)
        axes.set_axis_off()
    figure.suptitle(f"{FLAGS.method}: columns are codes, rows are draws")
    return figure


def histogram(uncertainty: dict[str, np.ndarray]):
    """Returns the figure of the discriminator's epistemic uncertainty."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.2), layout="constrained")
    axes = figure.subplots()
    ends = max(float(x.max()) for x in uncertainty.values())
    bins = np.linspace(0, ends or 1, 40)
    for name, values in uncertainty.items():
        axes.hist(values, bins, histtype="step", density=True, label=name)
    axes.set(xlabel="Epistemic uncertainty, nats", ylabel="Density")
    axes.legend(frameon=False)
    return figure


def main():
    (x, y), (x_test, y_test) = load()
    labelled = few_labels(x, y) if FLAGS.labels else (None, None)
    settings = {name: FLAGS[name].value for name in SETTINGS.split()}
    batches = data.GANBatches(
        x,
        FLAGS.batch_size,
        labelled=labelled[0],
        labels=labelled[1],
        seed=FLAGS.seed,
    )
    bayes = FLAGS.method == "bayes"
    model, history = training.fit_in_workdir(
        training.Workdir(FLAGS.workdir, settings),
        lambda: build(x.shape[1:], len(x)),
        batches,
        FLAGS.epochs,
        callbacks=[training.KLSchedule(FLAGS.kl_factor)] if bayes else [],
        verbose=2,
    )
    judge = classifier(x, y, FLAGS.classifier_epochs)
    predictor = generator_predictor(model)
    codes = keras.ops.convert_to_numpy(model.codes(FLAGS.samples, seed=FLAGS.seed + 2))
    members = predictor.predict(codes, verbose=0).members
    # Each code goes with a draw of its own: samples of the posterior predictive.
    drawn = np.arange(len(codes)) % len(members)
    made = members[drawn, np.arange(len(codes))]
    scores = {
        "all_draws": sample_scores(x_test, made, judge),
        "one_draw": sample_scores(x_test, members[0], judge),
        "real": sample_scores(x_test, x[: FLAGS.samples], judge),
        "between_draws": float(members.std(axis=0).mean()),
        "judge_error": float(1 - judge.evaluate(x_test, y_test, verbose=0)[1]),
        "losses": {name: values[-1] for name, values in history.items()},
    }
    found = discriminator_predictor(model)
    kinds = {"real": x_test, "generated": made, **foreign_images(x_test)}
    uncertainty = {
        name: np.ravel(found.predict(images, keep_members=False, verbose=0).epistemic)
        for name, images in kinds.items()
    }
    scores["epistemic"] = {n: float(v.mean()) for n, v in uncertainty.items()}
    if FLAGS.labels:
        scores["error"] = float(found.evaluate(x_test, y_test)["error"])
        # As many steps as it has on all images.
        alone = classifier(*labelled, FLAGS.classifier_epochs * len(x) // FLAGS.labels)
        right = alone.evaluate(x_test, y_test, verbose=0)[1]
        scores["error_of_labels_alone"] = float(1 - right)
    tell(scores)
    write_json(os.path.join(FLAGS.workdir, "scores.json"), scores)
    rows = members[: min(6, len(members)), :SHOWN]
    write_figure(os.path.join(FLAGS.workdir, "samples.png"), grid(rows))
    if FLAGS.method != "deterministic":
        path = os.path.join(FLAGS.workdir, "uncertainty.png")
        write_figure(path, histogram(uncertainty))
    for name, made_of in (("generator", predictor), ("discriminator", found)):
        path = os.path.join(FLAGS.workdir, f"{name}.tfhyper")
        made_of.save(path, overwrite=True)
        print(f"written: {path}")


def tell(scores: dict) -> None:
    """Prints the scores."""
    print(f"\n{FLAGS.method}: {'Frechet':>20} {'precision':>10} {'recall':>7} modes")
    for name in ("all_draws", "one_draw", "real"):
        row = scores[name]
        print(
            f"{name:>20} {row['frechet_distance']:13.2f} {row['precision']:10.3f} "
            f"{row['recall']:7.3f} {row['modes']:5}"
        )
    print("epistemic uncertainty of the discriminator, nats")
    for name, value in scores["epistemic"].items():
        print(f"{name:>20} {value:13.4f}")
    if "error" in scores:
        print(f"{'test error':>20} {scores['error']:13.4f}")
        print(f"{'of the labels alone':>20} {scores['error_of_labels_alone']:13.4f}")
    print()


if __name__ == "__main__":
    run(main)
