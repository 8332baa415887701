"""The networks whose training steps are measured, by name.

The networks are wide residual ones, on random images. Import this before anything
that imports TensorFlow.
"""

import contextlib
import functools
import importlib.util
import os
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# Before TensorFlow: the other way round a process that uses both may crash.
with contextlib.suppress(ImportError):
    import torch._dynamo  # noqa: F401

import keras
import numpy as np
from absl import flags
from workload import EXAMPLES, batch

from tfhyper import kits, models, training
from tfhyper.layers import role_of
from tfhyper.layers.gaussian_kernel import ESTIMATORS
from tfhyper.training.fast_generator import why_not

FLAGS = flags.FLAGS
flags.DEFINE_enum(
    "precision", "float32", ["float32", "bfloat16"], "Of the layers; mixed bfloat16."
)
flags.DEFINE_bool("rivals", True, "Measure the other packages too, in float32.")

flags.DEFINE_multi_string(
    "only", [], "Systems whose names hold this, or one of several; or all."
)

SETTINGS = ("depth", "width", "batch_size", "size", "precision")
PLAIN = "plain Keras 3"


def settings(*names: str) -> dict:
    """Returns the shared settings, the backend and the flags of these names."""
    found = {name: FLAGS[name].value for name in (*SETTINGS, *names)}
    return {**found, "backend": keras.backend.backend()}


def ours(kit, fast_generator=False):
    """Returns the step of a network of ours, and the bytes of its generators."""
    if FLAGS.precision == "bfloat16":
        keras.config.set_dtype_policy("mixed_bfloat16")
    x, y = batch()
    shape = x.shape[1:]
    model = models.wide_resnet(FLAGS.depth, FLAGS.width, input_shape=shape, kit=kit)
    training.compile_recipe(
        model, epochs=10, steps_per_epoch=100, fast_generator=fast_generator
    )
    # The recipe takes the ordinary path without a word where the other is not exact.
    if fast_generator and (reasons := why_not(model)):
        raise ValueError(f"No fast generator: {'; '.join(reasons)}")
    sizes = [
        np.prod(v.shape) * np.dtype(v.dtype).itemsize
        for v in model.trainable_variables
        if role_of(v) == "generator"
    ]

    def step():
        model.train_on_batch(x, y)
        wait()

    return step, int(sum(sizes))


def wait() -> None:
    """Waits until the devices have done what they were given."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.test.experimental.sync_devices()


def hypernetworks() -> dict[str, tuple[Callable, str]]:
    """Returns name -> (maker of the step, name of the plain network)."""
    paths = {"ordinary path": False}
    # On JAX the whole step is compiled, and there is no other path.
    if keras.backend.backend() == "tensorflow":
        paths["fast generator"] = True
    systems = {PLAIN: (functools.partial(ours, "deterministic"), PLAIN)}
    for form, mean_kernel in {"": True, " without mean kernel": False}.items():
        kit = kits.hyper(mean_kernel=mean_kernel)
        for path, fast in paths.items():
            maker = functools.partial(ours, kit, fast)
            systems[f"hypernetwork{form}, {path}"] = (maker, PLAIN)
    return systems


def bayesian() -> dict[str, tuple[Callable, str]]:
    """Returns the same of our networks with Gaussian kernels."""
    systems = {}
    for estimator in ESTIMATORS:
        kit = kits.bayes(EXAMPLES, estimator=estimator)
        systems[f"tfhyper, {estimator}"] = (functools.partial(ours, kit), PLAIN)
    return systems


def members() -> dict[str, tuple[Callable, str]]:
    """Returns the same of our networks whose members share their kernels."""
    forms: dict[str, dict] = {
        "point": {},
        "point, divided": {"batch": "divided"},
        "gaussian": {"posterior": "gaussian", "num_examples": EXAMPLES},
    }
    return {
        f"rank one, {form}": (functools.partial(ours, kits.rank_one(**options)), PLAIN)
        for form, options in forms.items()
    }


def rivals() -> dict[str, tuple[Callable, str]]:
    """Returns the same of the other packages that are installed."""
    if not FLAGS.rivals or FLAGS.precision != "float32":
        return {}
    from rival_steps import hypnettorch_step, tf_keras_step, torch_step

    kinds = ("Reparameterization", "Flipout")
    systems = {}
    if importlib.util.find_spec("tf_keras"):
        plain = "plain tf_keras"
        systems[plain] = (tf_keras_step, plain)
        for kind in kinds:
            classes = f"Convolution2D{kind}", f"Dense{kind}"
            maker = functools.partial(tf_keras_step, *classes)
            systems[f"tfp.layers, {kind.lower()}"] = (maker, plain)
    if importlib.util.find_spec("bayesian_torch"):
        plain = "plain torch"
        systems[plain] = (torch_step, plain)
        for kind in kinds:
            maker = functools.partial(torch_step, kind)
            systems[f"bayesian-torch, {kind.lower()}"] = (maker, plain)
    if importlib.util.find_spec("hypnettorch"):
        plain = "plain hypnettorch"
        for name, generated in {plain: False, "hypnettorch, HMLP": True}.items():
            systems[name] = (functools.partial(hypnettorch_step, generated), plain)
    return systems


def chosen(systems: dict) -> dict:
    """Returns the systems of --only and the plain networks they are held against."""
    names = [n for n in systems if any(part in n for part in FLAGS.only)]
    if FLAGS.only and not names:
        raise ValueError(f"--only fits none of {list(systems)}. Received: {FLAGS.only}")
    plain = [systems[n][1] for n in names]
    return {n: s for n, s in systems.items() if not names or n in names + plain}
