r"""Uncertainties of any trained classifier with BatchNorm, without retraining.

    python examples/mc_batch_norm.py
    python examples/mc_batch_norm.py --model=FILE.keras --dataset=cifar10 \
        --data_dir=DIR --batch_size=32

Monte Carlo Batch Normalization (Teye et al., 2018) beside the network as it is.
Without --model a small wide residual network is trained first on the images that
this package carries. --batch_size is that of the training: the smaller, the wider
the posterior.
"""

import os

import keras
import numpy as np
from absl import flags

import tfhyper
from tfhyper import kits, metrics, models, training
from tfhyper.cli import fitting, flag_sets
from tfhyper.cli.report import check_flags, load_data
from tfhyper.cli.scripting import run, write_json

FLAGS = flags.FLAGS
flag_sets.define_report()
flag_sets.define_training()
flags.DEFINE_string("model", None, "A saved .keras model; trained here if left out.")
FLAGS.set_default("workdir", "runs/mc_batch_norm")
FLAGS.set_default("batch_size", 32)
FLAGS.set_default("epochs", 5)


def train(data: tfhyper.data.Data, settings: dict) -> keras.Model:
    """Returns a wide residual network, trained in --workdir."""

    def build():
        keras.utils.set_random_seed(FLAGS.seed)
        model = models.wide_resnet(
            10,
            1,
            num_classes=data.spec.num_classes,
            input_shape=data.spec.image_shape,
            kit=kits.deterministic(),
        )
        return training.compile_recipe(
            model,
            FLAGS.epochs,
            data.steps_per_epoch,
            learning_rate=FLAGS.learning_rate,
        )

    return fitting.fit(build, data, settings)


def main():
    check_flags()
    settings = fitting.settings_of("")
    if FLAGS.model is not None and not os.path.exists(FLAGS.model):
        raise FileNotFoundError(f"--model must be a file. Received: {FLAGS.model}")
    fitting.strategy()
    data = load_data(settings)
    if FLAGS.model is not None:
        model = tfhyper.saving.load_model(FLAGS.model)
    else:
        fitting.set_precision()
        model = train(data, settings)
    if model is None:
        return

    plain = tfhyper.PosteriorPredictor(
        model, num_draws=1, batch_norm="moving_average", seed=FLAGS.draw_seed
    )
    drawn = tfhyper.PosteriorPredictor(
        model,
        num_draws=FLAGS.draws,
        batch_norm="minibatch",
        batch_size=FLAGS.batch_size,
        seed=FLAGS.draw_seed,
    )
    # Augmented, as training saw them; each draw takes one batch.
    drawn.estimate_batch_norm(data.epoch(0))
    labels = np.concatenate([y for _, y in data.test])
    names = {"plain": plain, f"MCBN x{FLAGS.draws}": drawn}
    scores = {}
    print(f"\n{model.name}, {len(labels)} test images of {data.spec.name}")
    print(
        f"{'':>12} {'accuracy %':>11} {'NLL':>7} {'ECE':>7} {'aleatoric':>10} "
        f"{'epistemic':>10}"
    )
    for name, predictor in names.items():
        prediction = predictor.predict(data.test)
        found = metrics.classification_report(labels, prediction.mean)
        found["aleatoric"] = float(prediction.aleatoric.mean())
        found["epistemic"] = float(prediction.epistemic.mean())
        scores[name] = found
        print(
            f"{name:>12} {100 * (1 - found['error']):11.2f} {found['nll']:7.4f} "
            f"{found['ece']:7.4f} {found['aleatoric']:10.4f} {found['epistemic']:10.4f}"
        )
    print("   NLL and uncertainties in nats, means over the images\n")
    write_json(os.path.join(FLAGS.workdir, "scores.json"), scores)
    path = os.path.join(FLAGS.workdir, "predictor.tfhyper")
    drawn.save(path, overwrite=True)
    print(f"written: {path}")


if __name__ == "__main__":
    run(main)
