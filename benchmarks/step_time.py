r"""Time of a training step against that of the same plain network.

    python benchmarks/step_time.py

Ours against plain Keras; tfp.layers against plain tf_keras; and, where they are
installed, bayesian-torch against plain torch. The systems take turns, step by
step, in one process; a ratio is the median over the rounds of step time over that
of the plain network of the same framework in the same round.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import contextlib
import importlib.util

# Before TensorFlow: the other way round a process that uses both may crash.
with contextlib.suppress(ImportError):
    import torch._dynamo  # noqa: F401

import numpy as np
from absl import app, flags
from report import markdown_table, provenance, write_json
from timing import time_systems

from tfhyper import kits, models, training
from tfhyper.layers.gaussian_kernel import ESTIMATORS

FLAGS = flags.FLAGS
flags.DEFINE_integer("depth", 16, "Depth of the wide residual network.")
flags.DEFINE_integer("width", 2, "Width of the wide residual network.")
flags.DEFINE_integer("batch_size", 128, "Images in a batch.")
flags.DEFINE_integer("size", 32, "Height and width of an image.")
flags.DEFINE_integer("rounds", 12, "Steps of each system that are timed.")
flags.DEFINE_integer("warm_up", 3, "Steps of each system before.")
flags.DEFINE_bool("rivals", True, "Time the other packages too.")
flags.DEFINE_string("output", "benchmarks/results/step_time.json", "The JSON.")

# By which the KL divergence is divided.
EXAMPLES = 50_000


def batch():
    """Returns random images, normalised, and labels."""
    rng = np.random.default_rng(0)
    shape = (FLAGS.batch_size, FLAGS.size, FLAGS.size, 3)
    images = rng.normal(size=shape).astype("float32")
    return images, rng.integers(0, 10, FLAGS.batch_size)


def ours(kit):
    """Returns the step of a network of ours."""
    x, y = batch()
    shape = x.shape[1:]
    model = models.wide_resnet(FLAGS.depth, FLAGS.width, input_shape=shape, kit=kit)
    training.compile_recipe(model, epochs=10, steps_per_epoch=100)
    return lambda: model.train_on_batch(x, y)


def wide_resnet(x, conv, norm_relu, add, head):
    """The skeleton of `tfhyper.models.wide_resnet` for any framework's layers."""
    channels = 16
    x = conv(x, 3, channels, 3, 1)
    for stage, strides in enumerate((1, 2, 2)):
        for block in range((FLAGS.depth - 4) // 6):
            width = 16 * 2**stage * FLAGS.width
            s = strides if block == 0 else 1
            active = norm_relu(x, channels)
            shortcut = x
            if s != 1 or channels != width:
                shortcut = conv(active, channels, width, 1, s)
            y = conv(active, channels, width, 3, s)
            y = conv(norm_relu(y, width), width, width, 3, 1)
            x, channels = add(shortcut, y), width
    return head(norm_relu(x, channels), channels)


def tf_keras_step(conv_class=None, dense_class=None):
    """Returns the step of a network of tf_keras, plain or of tfp.layers."""
    import tensorflow_probability as tfp
    import tf_keras

    k = tf_keras.layers
    options = {"use_bias": False, "kernel_initializer": "he_normal"}
    dense = k.Dense(10)
    conv_layer = k.Conv2D
    if conv_class is not None:

        def divergence(q, p, _):
            return tfp.distributions.kl_divergence(q, p) / EXAMPLES

        options = {"bias_posterior_fn": None, "kernel_divergence_fn": divergence}
        conv_layer = getattr(tfp.layers, conv_class)
        dense = getattr(tfp.layers, dense_class)(10, kernel_divergence_fn=divergence)

    def conv(x, _, filters, size, strides):
        return conv_layer(filters, size, strides, padding="same", **options)(x)

    def norm_relu(x, _):
        return k.ReLU()(k.BatchNormalization(momentum=0.9, epsilon=1e-5)(x))

    x, y = batch()
    inputs = tf_keras.Input(x.shape[1:])
    outputs = wide_resnet(
        inputs,
        conv,
        norm_relu,
        lambda a, b: k.Add()([a, b]),
        lambda x, _: dense(k.GlobalAveragePooling2D()(x)),
    )
    model = tf_keras.Model(inputs, outputs)
    model.compile(
        tf_keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
        tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return lambda: model.train_on_batch(x, y)


def torch_step(kind=None):
    """Returns the step of a network of torch, plain or of bayesian-torch."""
    import torch
    from torch import nn

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = nn.ModuleList()
            self.walk(self.make)

        def make(self, kind, *arguments):
            if kind == "conv":
                inputs, outputs, size, strides = arguments
                part = nn.Conv2d(inputs, outputs, size, strides, size // 2, bias=False)
            elif kind == "norm":
                part = nn.BatchNorm2d(*arguments)
            else:
                part = nn.Linear(*arguments, 10)
            self.parts.append(part)

        def walk(self, layer, x=None):
            def run(kind, x, *arguments):
                found = layer(kind, *arguments)
                return x if found is None else found(x)

            def head(x, channels):
                x = x if x is None else x.mean((2, 3))
                return run("dense", x, channels)

            def norm_relu(x, channels):
                x = run("norm", x, channels)
                return x if x is None else torch.relu(x)

            def add(a, b):
                return None if a is None else a + b

            def conv(x, *arguments):
                return run("conv", x, *arguments)

            return wide_resnet(x, conv, norm_relu, add, head)

        def forward(self, x):
            parts = iter(self.parts)
            return self.walk(lambda *_: next(parts), x)

    model = Network()
    if kind is not None:
        from bayesian_torch.models.dnn_to_bnn import dnn_to_bnn, get_kl_loss

        prior = {
            "prior_mu": 0.0,
            "prior_sigma": 1.0,
            "posterior_mu_init": 0.0,
            "posterior_rho_init": -3.0,
            "type": kind,
            "moped_enable": False,
            "moped_delta": 0.5,
        }
        dnn_to_bnn(model, prior)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, nesterov=True)
    x, y = batch()
    x = torch.from_numpy(x.transpose(0, 3, 1, 2).copy())
    x = x.contiguous(memory_format=torch.channels_last)
    y = torch.from_numpy(y)

    def step():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        if kind is not None:
            loss = loss + get_kl_loss(model) / EXAMPLES
        loss.backward()
        optimizer.step()

    return step


def make_systems() -> dict:
    """Returns name -> (step, name of the plain network it is measured against)."""
    plain = "plain Keras 3"
    systems = {plain: (ours("deterministic"), plain)}
    for estimator in ESTIMATORS:
        kit = kits.bayes(EXAMPLES, estimator=estimator)
        systems[f"tfhyper, {estimator}"] = (ours(kit), plain)
    if FLAGS.rivals and importlib.util.find_spec("tf_keras"):
        plain = "plain tf_keras"
        systems[plain] = (tf_keras_step(), plain)
        for kind in ("Reparameterization", "Flipout"):
            step = tf_keras_step(f"Convolution2D{kind}", f"Dense{kind}")
            systems[f"tfp.layers, {kind.lower()}"] = (step, plain)
    if FLAGS.rivals and importlib.util.find_spec("bayesian_torch"):
        plain = "plain torch"
        systems[plain] = (torch_step(), plain)
        for kind in ("Reparameterization", "Flipout"):
            systems[f"bayesian-torch, {kind.lower()}"] = (torch_step(kind), plain)
    return systems


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}")
    results = time_systems(make_systems(), FLAGS.warm_up, FLAGS.rounds)
    rows = [
        [
            name,
            f"{r['seconds']:.3f}",
            f"{r['ratio']:.2f}",
            "{:.2f} - {:.2f}".format(*r["ratio_quartiles"]),
        ]
        for name, r in results.items()
    ]
    header = ["system", "seconds a step", "ratio to its plain network", "quartiles"]
    print(markdown_table(header, rows))
    content = {
        "what": "seconds of a training step, and its ratio to the plain network",
        "data": "random images",
        "settings": {
            n: FLAGS[n].value
            for n in ("depth", "width", "batch_size", "size", "rounds", "warm_up")
        },
        **provenance(("tf_keras", "torch", "bayesian-torch")),
        "results": results,
    }
    write_json(FLAGS.output, content)


if __name__ == "__main__":
    app.run(main)
