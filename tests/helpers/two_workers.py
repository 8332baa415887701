"""What runs in each of two worker processes that train together."""

import json
import os
import socket

import keras
import numpy as np

from tests.helpers import trainings
from tests.helpers.trainings import STEPS, compiled, state, train
from tests.helpers.two_replicas import kit_network
from tfhyper import training
from tfhyper.training import Workdir, fit_in_workdir, for_multi_worker_fit, is_chief

KITS = (
    "hyper",
    "bayes",
    "mnf",
    "bayesian_hypernet",
    "mc_dropout",
    "static_hypernet",
    "deterministic",
)
EPOCHS = 4


def addresses():
    """Returns two addresses that were free a moment ago."""
    sockets = [socket.socket() for _ in range(2)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    finally:
        for each in sockets:
            each.close()


def workers(folder, **options):
    """Returns the arguments of both, for `kills.run`."""
    known = addresses()
    return [(str(folder), i, known, options) for i in range(2)]


def join(index, known):
    os.environ["TF_CONFIG"] = json.dumps(
        {"cluster": {"worker": known}, "task": {"type": "worker", "index": index}}
    )
    return training.make_strategy("multi_worker")


def compare(folder, index, known, options):
    """Trains with the loop and with `fit`, and writes the states."""
    strategy = join(index, known)

    def save(name, values):
        np.savez(os.path.join(folder, f"{name} {index}"), **values)

    save("fast", state(*train(strategy)))
    save("ordinary", state(*train(strategy, fast=False)))
    val = {"fit_options": {"validation_data": trainings.validation()}}
    save("validation", state(*train(strategy, trainings.plain_network, **val)))
    for kit in KITS:
        with strategy.scope():
            model = compiled(lambda kit=kit: kit_network(kit), fast=kit == "hyper")
        for layer in model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = True
        outer = for_multi_worker_fit(model)
        with strategy.scope():
            history = outer.fit(
                trainings.batches(),
                epochs=1,
                steps_per_epoch=STEPS,
                validation_data=trainings.batches(),
                validation_steps=1,
                verbose=0,
            )
        save(f"kit {kit}", state(model, history))
        assert model.optimizer.iterations == STEPS


class Data:
    steps_per_epoch = STEPS

    def train_from(self, epoch):
        order = np.concatenate(
            [
                np.random.default_rng(e).permutation(len(trainings.X))
                for e in range(epoch, EPOCHS)
            ]
        )
        return trainings.batches(trainings.X[order], trainings.Y[order])


def resume(folder, index, known, options):
    """Trains in a folder from where it stands to its end, and writes the state."""
    strategy = join(index, known)
    workdir = Workdir(folder, {}, chief=is_chief(strategy))

    class Notes(keras.callbacks.Callback):
        """Tells the test how far the training is."""

        def on_train_batch_end(self, batch, logs=None):
            with open(os.path.join(folder, f"steps {index}"), "a") as file:
                file.write(".")

    model, history = fit_in_workdir(
        workdir,
        compiled,
        Data(),
        EPOCHS,
        strategy=strategy,
        steps_per_call=1,
        callbacks=[Notes()],
        verbose=0,
    )
    values = [*model.get_weights(), *map(np.array, model.optimizer.variables)]
    values += [np.array(history[name]) for name in sorted(history)]
    np.savez(os.path.join(folder, f"state {index}"), *values)
