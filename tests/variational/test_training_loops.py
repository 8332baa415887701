"""Learned noise through the other ways to train: `Trainer`, folders, kills, scores."""

import os

import numpy as np
import pytest

import tfhyper
from tests.helpers import kills
from tests.helpers.ivon import to_numpy
from tests.variational.test_variational import LABELS, X, network
from tfhyper import analysis, training

pytest.importorskip("tensorflow")

EPOCHS, STEPS, BATCH = 4, 3, 16
KILLS = 4


class Data:
    """The images in the order of their epoch."""

    steps_per_epoch = STEPS

    def train_from(self, epoch):
        import tensorflow as tf

        order = np.concatenate(
            [np.random.default_rng(e).permutation(len(X)) for e in range(epoch, EPOCHS)]
        )
        data = tf.data.Dataset.from_tensor_slices((X[order], LABELS[order]))
        return data.batch(BATCH)


def build(**options):
    model = tfhyper.Variational(network(), num_examples=len(X), seed=1, **options)
    return training.compile_variational_recipe(model, EPOCHS, STEPS, jit_compile=False)


def all_variables(model):
    return [to_numpy(x) for x in (*model.variables, *model.optimizer.variables)]


def train(folder):
    """Writes all that a training ends with to `state.npz`."""
    model, history = training.fit_in_workdir(
        training.Workdir(folder, {}), build, Data(), EPOCHS, verbose=0
    )
    state = {str(i): x for i, x in enumerate(all_variables(model))}
    np.savez(os.path.join(folder, "state.npz"), **state, loss=history["loss"])


def test_kills_leave_the_bits_of_a_training_that_nothing_disturbed(tmp_path):
    whole = tmp_path / "whole"
    ended = kills.run(train, [(whole,)])
    ended.check()
    expected = np.load(whole / "state.npz")
    assert len(set(expected["loss"])) == EPOCHS
    rng = np.random.default_rng(0)
    moments = iter((rng.uniform(0, ended.seconds), 0) for _ in range(KILLS))
    folder = tmp_path / "killed"
    attempts = kills.run_through_kills(
        train, lambda _: [(folder,)], moments, lambda _: None
    )
    assert any(attempt.killed for attempt in attempts)
    found = np.load(folder / "state.npz")
    assert found.files == expected.files
    for name in expected.files:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


def test_a_trainer_takes_the_steps_of_fit():
    models = [build(), build()]
    data = Data().train_from(0)
    models[0].fit(data.take(STEPS), epochs=1, verbose=0)
    training.Trainer(models[1]).fit(data, epochs=1, steps_per_epoch=STEPS, verbose=0)
    for found, expected in zip(*map(all_variables, models), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_several_draws_in_a_step():
    model = build()
    trainer = training.Trainer(model, weight_sets=2)
    trainer.fit(Data().train_from(0), epochs=1, steps_per_epoch=STEPS, verbose=0)
    counts = [v for v in model.noise.variables if v.path != model.noise.curvature.path]
    assert 2 * STEPS in [int(np.max(to_numpy(count))) for count in counts]


def test_validation_scores_are_those_of_the_predictor():
    model = build()
    validation = training.PosteriorValidation((X, LABELS), X, num_draws=3, seed=2)
    history = model.fit(
        X, LABELS, batch_size=BATCH, epochs=1, verbose=0, callbacks=[validation]
    ).history
    predictor = tfhyper.PosteriorPredictor(model, num_draws=3, seed=2)
    expected = predictor.estimate_batch_norm(X, verbose=0).evaluate(X, LABELS)
    assert history["val_nll"][0] == pytest.approx(expected["nll"], abs=1e-5)


def test_weights_of_draws_are_independent_for_analyses():
    model = tfhyper.Variational(network(), num_examples=len(X), seed=1)
    options = {"num_pairs": 20, "num_draws": 300, "seed": 3}
    pairs = analysis.weight_pairs(
        model, blocks={"conv": "a", "logits": "b"}.get, **options
    )
    # sigma = 1 / sqrt(N (h + delta)), to four standard errors of a deviation.
    deviation = pairs.samples.std(axis=0)
    np.testing.assert_allclose(deviation, 1 / np.sqrt(len(X) * 0.5005), rtol=0.17)
    first, second = pairs.samples[..., 0], pairs.samples[..., 1]
    found = [np.corrcoef(x, y)[0, 1] for x, y in zip(first.T, second.T, strict=True)]
    assert np.abs(found).max() < 4 / np.sqrt(300)
