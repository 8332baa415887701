r"""The picture on the first page: four inputs, and what each draw says of them.

    python examples/train.py --workdir=runs/front --learned_noise --views=flips \
        --nocrops
    python benchmarks/front_picture.py --workdir=runs/front

Of the second half of the embedded test images: one that the predictor is sure of and
one that it is unsure of (at --sure and --unsure per cent of the total uncertainty), the
first one turned by 90 degrees; and uniform noise, of median uncertainty. Under each
stand the classes with a dot for each draw, and both parts of the uncertainty in nats:
what the data leave open (aleatoric) and what the weights leave open (epistemic). What
is less sure than --coverage of the first half of the test images is "unknown". How much
of each kind is unknown goes into the JSON.
"""

import glob
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from typing import Any

import numpy as np
from absl import app, flags
from report import provenance, show_own_flags, write_figure, write_json

import tfhyper

FLAGS = flags.FLAGS
flags.DEFINE_string("workdir", "runs/front", "Folder of `examples/train.py`.")
flags.DEFINE_string("out", "docs/figures/front.png", "The picture.")
flags.DEFINE_string("json", "benchmarks/results/front_picture.json", "Its numbers.")
flags.DEFINE_float("coverage", 0.9, "Of the test images that get a label.")
flags.DEFINE_float("sure", 25.0, "Percentile of the uncertainty of the first image.")
flags.DEFINE_float("unsure", 95.0, "Percentile of that of the second.")
flags.DEFINE_integer("shown", 5, "Classes under each image.")

DATASET = "fashion_mnist_small"
# Okabe and Ito's.
BLUE, ORANGE, VERMILION = "#0072B2", "#E69F00", "#D55E00"
HEADINGS = ("a test image", "another one", "the first, turned", "noise")


def kinds_of(images: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the test images, the same turned, and noise, each in the network's units.

    Noise is uniform over the range of the pixels, black to white.
    """
    noise = np.random.default_rng(0).uniform(images.min(), images.max(), images.shape)
    return {
        "test images": images,
        "turned by 90 degrees": np.rot90(images, axes=(1, 2)).copy(),
        "noise": noise.astype(images.dtype),
    }


def draw(images: np.ndarray, prediction: tfhyper.Prediction, names: list[str]) -> Any:
    """Returns the figure of four images and what is predicted of them."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 4.6), dpi=130, layout="constrained")
    rows = figure.subplots(
        3, len(images), gridspec_kw={"height_ratios": (3, 2.4, 0.8)}, squeeze=False
    )
    largest = float(np.max(prediction.total)) * 1.05
    for i, (top, middle, bottom) in enumerate(rows.T):
        top.imshow(images[i, ..., 0], cmap="gray")
        top.set(xticks=[], yticks=[])
        rejected = bool(prediction.rejected[i])
        said = "unknown" if rejected else names[int(prediction.label[i])]
        top.set_title(
            f"{HEADINGS[i]}:\n“{said}”",
            fontsize=11,
            fontweight="bold",
            color=VERMILION if rejected else "black",
        )
        shown = np.argsort(-prediction.mean[i])[: FLAGS.shown][::-1]
        places = np.arange(len(shown))
        middle.barh(places, prediction.mean[i, shown], color="0.85", height=0.8)
        for k, c in enumerate(shown):
            members = prediction.members[:, i, c]
            jitter = np.linspace(-0.28, 0.28, len(members))
            middle.plot(members, k + jitter, ".", color=BLUE, markersize=3.5)
        middle.set_yticks(places, [names[c] for c in shown], fontsize=8)
        middle.set(xlim=(-0.02, 1.02))
        middle.tick_params(axis="x", labelsize=7)
        middle.spines[["top", "right"]].set_visible(False)
        aleatoric, epistemic = prediction.aleatoric[i], prediction.epistemic[i]
        bottom.barh([0], [aleatoric], color=ORANGE, label="of the data (aleatoric)")
        bottom.barh(
            [0],
            [epistemic],
            left=[aleatoric],
            color=VERMILION,
            label="of the weights (epistemic)",
        )
        bottom.axvline(prediction.rejection.threshold, color="black", linestyle=":")
        bottom.set(yticks=[], xlim=(0, largest))
        bottom.tick_params(axis="x", labelsize=7)
        bottom.spines[["top", "right", "left"]].set_visible(False)
    rows[1, 0].set_ylabel("mean (bar)\nand 16 draws (dots)", fontsize=8)
    rows[2, 0].set_ylabel("nats", fontsize=8)
    handles, labels = rows[2, 0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=8
    )
    return figure


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}")
    found = glob.glob(os.path.join(FLAGS.workdir, "*.tfhyper"))
    if len(found) != 1:
        raise app.UsageError(
            f"--workdir must be a folder in which `examples/train.py` has left its "
            f"predictor. Received: {FLAGS.workdir}, with {len(found)}"
        )
    predictor = tfhyper.PosteriorPredictor.load(found[0])
    _, (x, _) = tfhyper.data.load_arrays(DATASET)
    half = len(x) // 2
    predictor.fit_rejection(x[:half], coverage=FLAGS.coverage)
    kinds = kinds_of(x[half:])
    predictions = {name: predictor.predict(images) for name, images in kinds.items()}

    def at(kind: str, percent: float) -> int:
        order = np.argsort(predictions[kind].total)
        return int(order[int(len(order) * percent / 100)])

    first = at("test images", FLAGS.sure)
    second = at("test images", FLAGS.unsure)
    chosen = np.stack(
        [
            kinds["test images"][first],
            kinds["test images"][second],
            kinds["turned by 90 degrees"][first],
            kinds["noise"][at("noise", 50.0)],
        ]
    )
    names = list(tfhyper.data.DATASETS[DATASET].class_names)
    write_figure(FLAGS.out, draw(chosen, predictor.predict(chosen), names), 130)
    content = {
        "what": "how many of each kind of image are unknown, and their uncertainty",
        "data": f"{DATASET}, second half of the test images",
        **provenance(),
        "coverage": FLAGS.coverage,
        "results": {
            name: {
                "unknown": float(np.mean(prediction.rejected)),
                "median total": float(np.median(prediction.total)),
                "median epistemic": float(np.median(prediction.epistemic)),
            }
            for name, prediction in predictions.items()
        },
    }
    write_json(FLAGS.json, content)
    for name, scores in content["results"].items():
        print(name, {key: round(value, 3) for key, value in scores.items()})


if __name__ == "__main__":
    show_own_flags()
    app.run(main)
