r"""Time of a prediction over draws against as many of the same plain network.

    python benchmarks/predict_time.py
    KERAS_BACKEND=jax python benchmarks/predict_time.py --norivals --output=FILE

N draws of a hypernetwork, by `PosteriorPredictor.predict`, against N predictions of
the plain Keras network: by its `predict`, and by a bare compiled call. Then, where
they are installed, N passes of tfp.layers against plain tf_keras, of bayesian-torch
against plain torch, and hypnettorch's network with N generated weights against
itself. The systems of one framework take turns in one process; a ratio is the median
over the rounds of the time over that of the plain network in the same round. Last,
how many draws `predict_anytime` takes, of a network that is trained here: see
`anytime.py`.
"""

import functools
import importlib.util

from absl import app, flags

# First, for what it imports before TensorFlow.
from networks import FLAGS, settings  # isort: skip
import anytime
import keras
import numpy as np
from report import markdown_table, provenance, show_own_flags, write_json
from timing import ratio, take_turns, time_rows

from tfhyper import PosteriorPredictor, models
from tfhyper.posterior.running.small_batches import FORMS

flags.DEFINE_integer("draws", 16, "N.")
flags.DEFINE_list("batches", ["1", "8", "32", "128", "256"], "Images to predict.")
flags.DEFINE_integer("rounds", 12, "Rounds that are timed, for each batch.")
flags.DEFINE_integer("warm_up", 3, "Rounds before.")
flags.DEFINE_bool("anytime", True, "Count the draws of predict_anytime, too.")
flags.DEFINE_string("output", "benchmarks/results/predict_time.json", "The JSON.")

OURS = "tfhyper"
PREDICT, BARE = "plain Keras 3, predict", "plain Keras 3, compiled call"


def network(kit):
    shape = (FLAGS.size, FLAGS.size, 3)
    return models.wide_resnet(FLAGS.depth, FLAGS.width, input_shape=shape, kit=kit)


def times_n(function):
    """Returns a function that calls another N times."""

    def call():
        for _ in range(FLAGS.draws):
            function()

    return call


def compiled(model):
    """Returns the fastest call of a plain Keras network, from NumPy to NumPy."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        graph = tf.function(
            lambda x: model(x, training=False), reduce_retracing=True, autograph=False
        )
        return lambda x: graph(tf.constant(x)).numpy()
    if keras.backend.backend() == "jax":
        import jax

        weights = [v.value for v in model.trainable_variables]
        others = [v.value for v in model.non_trainable_variables]
        graph = jax.jit(lambda w, n, x: model.stateless_call(w, n, x)[0])
        return lambda x: np.asarray(graph(weights, others, x))
    import torch

    def call(x):
        with torch.no_grad():
            return keras.ops.convert_to_numpy(model(x, training=False))

    return call


def ours() -> dict:
    """Returns name -> (function of images, name of the plain system)."""
    rng = np.random.default_rng(1)
    shape = 64, FLAGS.size, FLAGS.size, 3
    predictor = PosteriorPredictor(network("hyper"), FLAGS.draws)
    predictor.estimate_batch_norm(rng.normal(size=shape).astype("float32"), verbose=0)
    plain = network("deterministic")
    call = compiled(plain)

    def predict(x):
        plain.predict(x, batch_size=len(x), verbose=0)

    return {
        PREDICT: (lambda x: times_n(functools.partial(predict, x)), BARE),
        BARE: (lambda x: times_n(functools.partial(call, x)), BARE),
        OURS: (lambda x: prepared(predictor, x), BARE),
    }


def prepared(predictor, x):
    """Returns the prediction of images, after as many as it takes to compile."""

    def predict():
        predictor.predict(x, batch_size=len(x))

    form = FORMS[keras.backend.backend()]
    if len(x) <= form.largest:
        for _ in range(form.pays_after):
            predict()
    return predict


def rivals() -> dict:
    """Returns the same of the other packages that are installed."""
    if not FLAGS.rivals:
        return {}
    from rival_steps import tf_keras_network, torch_images, torch_network

    systems = {}
    if importlib.util.find_spec("tf_keras"):
        import tensorflow as tf

        def tf_keras_passes(*classes):
            model = tf_keras_network(*classes)
            graph = tf.function(
                lambda x: model(x, training=False), reduce_retracing=True
            )
            return lambda x: times_n(lambda: graph(tf.constant(x)).numpy())

        classes = "Convolution2DReparameterization", "DenseReparameterization"
        systems["plain tf_keras"] = tf_keras_passes(), "plain tf_keras"
        systems["tfp.layers"] = tf_keras_passes(*classes), "plain tf_keras"
    if importlib.util.find_spec("bayesian_torch"):
        import torch

        def torch_passes(*kind):
            model = torch_network(*kind).eval()

            def prepare(x):
                passes = times_n(functools.partial(model, torch_images(x)))
                return torch.no_grad()(passes)

            return prepare

        systems["plain torch"] = torch_passes(), "plain torch"
        systems["bayesian-torch"] = torch_passes("Reparameterization"), "plain torch"
    if importlib.util.find_spec("hypnettorch"):
        systems.update(hypnettorch_passes())
    return systems


def hypnettorch_passes() -> dict:
    """Returns its network with its own weights, N times, and with generated ones.

    Made for each prediction, for N codes in one product; and kept, which is left to
    the user there.
    """
    import torch
    from rival_steps import hypnettorch_network

    plain, _ = hypnettorch_network(False)
    net, generator = hypnettorch_network(True)
    for module in (plain, net, generator):
        module.eval()

    def generate():
        codes = torch.rand(FLAGS.draws, 32)
        found = generator.forward(uncond_input=codes)
        return found if FLAGS.draws > 1 else [found]

    def with_images(function):
        def prepare(x):
            x = torch.from_numpy(x.reshape(len(x), -1))
            return torch.no_grad()(lambda: function(x))

        return prepare

    with torch.no_grad():
        kept = generate()

    def one_by_one(x, all_weights):
        for weights in all_weights:
            net.forward(x, weights=weights)

    name = "plain hypnettorch"
    return {
        name: (with_images(lambda x: times_n(lambda: plain.forward(x))()), name),
        "hypnettorch": (with_images(lambda x: one_by_one(x, generate())), name),
        "hypnettorch, weights kept": (with_images(lambda x: one_by_one(x, kept)), name),
    }


def time_batch(systems: dict, size: int) -> dict:
    """Returns the times of all systems for so many images."""
    print(f"== {size} images")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(size, FLAGS.size, FLAGS.size, 3)).astype("float32")
    against = {name: plain for name, (_, plain) in systems.items()}
    seconds = {}
    # Frameworks by themselves: idle threads of one keep the cores for a while.
    for plain in dict.fromkeys(against.values()):
        functions = {n: systems[n][0](x) for n in systems if against[n] == plain}
        seconds.update(take_turns(functions, FLAGS.warm_up, FLAGS.rounds))
    found = time_rows(seconds, against)
    # Ours is held against both ways to call the plain network.
    found[OURS]["against_predict"] = ratio(seconds[OURS], seconds[PREDICT])
    return found


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}")
    systems = {**ours(), **rivals()}
    results = {size: time_batch(systems, int(size)) for size in FLAGS.batches}
    print_times(results)
    content = {
        "what": "seconds of a prediction over N draws, and its ratio to N predictions "
        "of the plain network",
        "data": "random images",
        "settings": settings("draws", "batches", "rounds", "warm_up"),
        **provenance(("tf_keras", "jax", "torch", "bayesian-torch", "hypnettorch")),
        "results": results,
    }
    del content["settings"]["batch_size"]
    if FLAGS.anytime:
        content["anytime"] = anytime.run()
    write_json(FLAGS.output, content)


def print_times(results: dict) -> None:
    def cell(row):
        middle, (low, high) = row["ratio"], row["ratio_quartiles"]
        return f"{middle:.2f} ({low:.2f} - {high:.2f})"

    header = ["system", "against", *(f"{size} images" for size in results)]
    rows = []
    (first, *_) = results.values()
    for name, row in first.items():
        cells = [cell(r[name]) for r in results.values()]
        rows.append([name, row["against"], *cells])
        if name == OURS:
            cells = [cell(r[name]["against_predict"]) for r in results.values()]
            rows.append([name, PREDICT, *cells])
    print(markdown_table(header, rows))
    rows = [
        [name, *(f"{1000 * r[name]['seconds']:.1f}" for r in results.values())]
        for name in first
    ]
    header = ["milliseconds", *(f"{size} images" for size in results)]
    print(markdown_table(header, rows))


if __name__ == "__main__":
    show_own_flags()
    app.run(main)
