"""Reports on a trained network: scores, uncertainties, pictures, what is unknown."""

import os
from collections.abc import Iterable, Sequence
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
from absl import flags

# All that registers something with Keras, as `import tfhyper` does: for files.
from tfhyper import analysis, heads, metrics, training  # noqa: F401
from tfhyper.cli.methods import WIDTH_EXAMPLES
from tfhyper.cli.scripting import write_figure, write_json
from tfhyper.data import Data, load
from tfhyper.layers import Augment, StochasticLayer
from tfhyper.posterior import PosteriorPredictor, Rejection
from tfhyper.posterior.base_predictor import BasePredictor
from tfhyper.posterior.networks.averaging import Averaging
from tfhyper.variational import WeightPosterior

FLAGS = flags.FLAGS

# A single draw is judged by the median of so many (Ukai et al., 2019, 4.1).
SINGLES = 5
# From so many classes on the top-5 error is customary, as on ImageNet.
MANY_CLASSES = 100
# Most and least certain images that a picture shows.
EXAMPLES = 8


def check_flags(names: Sequence[str] = ("draws", "calibration_examples")) -> None:
    """Raises ValueError for flags that would fail only after the training."""
    for name in names:
        value = FLAGS[name].value
        if value is not None and value < 1:
            raise ValueError(f"--{name} must be positive. Received: --{name}={value}")


# What a file of settings may hold for the data, by type: `"False"` is no `False`.
SETTINGS: dict[str, Any] = {
    "dataset": str,
    "data_dir": str | None,
    "batch_size": int,
    "train_examples": int | None,
    "test_examples": int | None,
    "seed": int,
    "download": bool,
    "augment": bool,
    "image_size": int | None,
    "color_jitter": float | int,
    "crop_padding": str,
    "mean": list | None,
    "std": list | None,
    "resize_method": str,
    "train_split": str | None,
    "validation_examples": int | None,
}


def check_settings(settings: dict[str, Any]) -> None:
    """Raises ValueError for settings, as a file has them, of other types."""
    for name, kind in SETTINGS.items():
        value = settings.get(name)
        if name not in settings:
            continue
        if not isinstance(value, kind) or (
            kind is not bool and isinstance(value, bool)
        ):
            raise ValueError(
                f"settings.json must hold {name} of type {kind}. "
                f"Received: {name}={value!r}"
            )


def load_data(settings: dict[str, Any]) -> Data:
    """Returns the data that a training was, or is to be, made with."""
    check_settings(settings)
    return load(
        settings["dataset"],
        data_dir=settings["data_dir"],
        batch_size=settings["batch_size"],
        train_examples=settings["train_examples"],
        test_examples=settings["test_examples"],
        seed=settings["seed"],
        download=settings["download"],
        augment=settings.get("augment", True),
        image_size=settings.get("image_size"),
        color_jitter=settings.get("color_jitter", 0.0),
        # Folders of before, and recipes that say nothing of it, do not have these.
        crop_padding=settings.get("crop_padding", "mean"),
        mean=settings.get("mean"),
        std=settings.get("std"),
        resize_method=settings.get("resize_method", "bilinear"),
        train_split=settings.get("train_split"),
        validation_examples=settings.get("validation_examples"),
    )


def report(
    model: keras.Model,
    data: Data,
    averaging: Averaging = "branching",
    flipped: bool = True,
) -> dict[str, Any]:
    """Reports on the draws of a trained network, as `report_predictor` does.

    Args:
        model: the network.
        data: what it was trained on.
        averaging: where draws are averaged.
        flipped: whether it was trained on mirror images, too, of sets that have them.
    """
    draws = isinstance(model, WeightPosterior) or any(
        isinstance(layer, StochasticLayer) and layer.is_random for layer in model.layers
    )
    views = FLAGS.views
    if views == "auto":
        seen = flipped and data.spec.flip and draws and averaging == "branching"
        views = "flips" if seen else "none"
    augment = Augment.flips() if views == "flips" else None
    predictor = PosteriorPredictor(
        model,
        # Where nothing else draws, more of them than views would be the same again.
        num_draws=FLAGS.draws if draws else len(augment.views) if augment else 1,
        averaging=averaging,
        seed=FLAGS.draw_seed,
        augment=augment,
    )
    predictor.summary()
    is_posterior = isinstance(model, WeightPosterior)
    if is_posterior and data.validation is not None and FLAGS.fit_width:
        moments = calibration_data(data).take(-(-WIDTH_EXAMPLES // data.batch_size))
        predictor.fit_width(
            data.validation,
            moments=moments if predictor.source.needs_moments else None,
        )
    predictor.estimate_batch_norm(calibration_data(data))
    return report_predictor(predictor, data)


def calibration_data(data: Data) -> Any:
    """Returns what draws take their BatchNorm moments from, as the flags say."""
    batches = -1
    if FLAGS.calibration_examples is not None:
        batches = -(-FLAGS.calibration_examples // data.batch_size)
    # Augmented, as training saw them: BatchNorm's moments are those of training.
    return data.epoch(0).take(batches)


def report_predictor(predictor: BasePredictor, data: Data) -> dict[str, Any]:
    """Prints x1 and xN scores; writes them, the predictor and pictures.

    Returns:
        Where they are, the scores, and the rejection, as JSON values.
    """
    prediction = predictor.predict(data.test, verbose=1)
    labels = np.concatenate([y for _, y in data.test])

    # One network that holds all draws has no single ones.
    singles = prediction.members[:SINGLES]
    members = {"x1": singles} if predictor.num_networks == predictor.num_draws else {}
    members[f"x{predictor.num_draws}"] = [prediction.mean]
    scores = {
        n: metrics.single_draw_report(labels, np.array(m)) for n, m in members.items()
    }
    many_classes = data.spec.num_classes >= MANY_CLASSES
    if many_classes:
        for name, probs in members.items():
            errors = [metrics.top_k_error(labels, member, 5) for member in probs]
            scores[name]["top_5_error"] = float(np.median(errors))
    print(f"\n{len(labels)} test images of {data.spec.name}")
    print(
        f"{'':>5} {'error %':>8} {'NLL':>7} {'Brier':>7} {'ECE':>7} {'accuracy %':>11}"
        + " top-5 error %" * many_classes
    )
    for name, s in scores.items():
        top_5 = f" {100 * s['top_5_error']:13.2f}" if many_classes else ""
        print(
            f"{name:>5} {100 * s['error']:8.2f} {s['nll']:7.4f} {s['brier']:7.4f} "
            f"{s['ece']:7.4f} {100 * (1 - s['error']):11.2f}{top_5}"
        )
    if "x1" in scores:
        print(f"   x1: median of {len(singles)} draws.")
    print("   NLL in nats.\n")
    wrong = prediction.mean.argmax(-1) != labels
    print(f"{'uncertainty, nats':>20} {'total':>7} {'aleatoric':>10} {'epistemic':>10}")
    for name, rows in (("right answers", ~wrong), ("wrong answers", wrong)):
        if rows.any():
            print(
                f"{name:>20} {prediction.total[rows].mean():7.4f} "
                f"{prediction.aleatoric[rows].mean():10.4f} "
                f"{prediction.epistemic[rows].mean():10.4f}"
            )
    print()
    choose_rejection(predictor, prediction, labels, data)
    written = write_results(predictor, prediction, labels, data, scores)
    return {
        "workdir": FLAGS.workdir,
        "dataset": data.spec.name,
        "test_examples": len(labels),
        "draws": predictor.num_draws,
        "scores": scores,
        "rejection": predictor.settings["rejection"],
        "written": written,
    }


def choose_rejection(
    predictor: BasePredictor, prediction: Any, labels: np.ndarray, data: Data
) -> None:
    """Gives a predictor the rejection that the flags name, and prints what it is worth.

    Chosen on the images held out of the training and judged on those of the test; or,
    if none were held out, chosen on the first half of the test images and judged on the
    second.
    """
    if FLAGS.selective_error is None and not FLAGS.coverage:
        predictor.rejection = None
        return
    uncertainty, probs = prediction.uncertainty(FLAGS.score), prediction.mean
    if data.validation is not None:
        held_out = predictor.predict(data.validation, verbose=0)
        half, chosen_by = len(held_out.mean), "held-out"
        labels = np.concatenate([*(y for _, y in data.validation), labels])
        probs = np.concatenate([held_out.mean, probs])
        uncertainty = np.concatenate([held_out.uncertainty(FLAGS.score), uncertainty])
    else:
        half, chosen_by = max(len(labels) // 2, 1), "test"
    if FLAGS.selective_error is None:
        aim = f"a coverage of {FLAGS.coverage:g}"
        rule: dict[str, Any] = {"coverage": FLAGS.coverage}
    else:
        aim = f"an error of {FLAGS.selective_error:g} among the answers"
        rule = {
            "error": FLAGS.selective_error,
            "labels": labels[:half],
            "probs": probs[:half],
        }
    threshold = metrics.rejection_threshold(uncertainty[:half], **rule)
    predictor.rejection = Rejection(threshold, FLAGS.score)
    print(
        f"unknown: {FLAGS.score} above {threshold:.4f}, by {half} {chosen_by} images, "
        f"for {aim}"
    )
    if half < len(labels):
        rejected = predictor.rejection.rejects(uncertainty[half:])
        found = metrics.selective_report(labels[half:], probs[half:], rejected)
        wrong = found.get("selective_error")
        said = "" if wrong is None else f"; of these {100 * wrong:.2f} % are wrong"
        error = metrics.error(labels[half:], probs[half:])
        print(
            f"   of the other {len(labels) - half} images {100 * found['coverage']:.2f}"
            f" % have an answer{said}, of all {100 * error:.2f} %.\n"
        )


def images_of(batches: Iterable[Any], rows: np.ndarray) -> np.ndarray:
    """Returns the images of some rows, in increasing order, of a dataset."""
    found, start = [], 0
    for images, _ in batches:
        stop = start + len(images)
        here = rows[(rows >= start) & (rows < stop)]
        found.append(images.numpy()[here - start])
        start = stop
    return np.concatenate(found)


def write_results(
    predictor: BasePredictor,
    prediction: Any,
    labels: np.ndarray,
    data: Data,
    scores: dict[str, Any],
) -> list[str]:
    """Writes the predictor, the scores and two pictures, and says where."""
    path = os.path.join(FLAGS.workdir, "predictor.tfhyper")
    predictor.save(path, overwrite=True)
    print(f"written: {path}")
    written = [path, os.path.join(FLAGS.workdir, "scores.json")]
    write_json(written[-1], scores)
    # Only these images are held: those of ImageNet would not fit.
    order = np.argsort(prediction.total, kind="stable")
    rows = np.unique([*order[:EXAMPLES], *order[-EXAMPLES:]])
    images = images_of(data.test, rows)
    mean, std = (np.asarray(x, "float32") for x in (data.spec.mean, data.spec.std))
    images = np.clip(images * std + mean, 0, 1)
    title = f"{data.spec.name}, x{predictor.num_draws}"
    figures = {
        "reliability": analysis.reliability_diagram(
            labels, prediction.mean, title=title
        ),
        "examples": analysis.extreme_examples(
            images,
            labels[rows],
            prediction.mean[rows],
            prediction.total[rows],
            class_names=data.spec.class_names,
            num=EXAMPLES,
            title=title,
        ),
    }
    for name, figure in figures.items():
        written.append(os.path.join(FLAGS.workdir, f"{name}.png"))
        write_figure(written[-1], figure)
    return written
