"""Which devices and machines a training runs on, and what cannot work there."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import keras

from tfhyper.checks import check_choice, check_instance, check_positive_integer

if TYPE_CHECKING:
    import tensorflow as tf

StrategyName: TypeAlias = Literal["none", "mirrored", "multi_worker"]
STRATEGIES: tuple[StrategyName, ...] = get_args(StrategyName)
# What Slurm sets in each process that `srun` starts.
_SLURM = ("SLURM_PROCID", "SLURM_STEP_NODELIST")


def make_strategy(name: StrategyName) -> tf.distribute.Strategy:
    """Returns the `tf.distribute` strategy of a name.

    Make it once in a process, and for `"multi_worker"` before anything else is done
    with TensorFlow. A network belongs to it that is made and compiled in its scope.

    Args:
        name: `"none"`: one device; `"mirrored"`: all devices of this machine, GPUs if
            there are some, else (logical) CPUs; `"multi_worker"`: the processes that
            the environment variable `TF_CONFIG` names, as the training operators of
            Kubernetes set it, or those of a step of Slurm.

    Returns:
        A `tf.distribute.Strategy`.

    Raises:
        ValueError: for another name; for a `TF_CONFIG` that is not JSON or does not
            name the workers and which of them this process is; without `TF_CONFIG`
            and Slurm; or if TensorFlow was used before `"multi_worker"` was made.

    Example:

    >>> strategy = tfhyper.training.make_strategy("mirrored")
    >>> with strategy.scope():
    ...     model = build()  # and compile
    >>> history = tfhyper.training.Trainer(model).fit(
    ...     data.train_from(0), epochs=2, steps_per_epoch=4, verbose=0
    ... )
    >>> strategy.num_replicas_in_sync
    1
    """
    check_choice("name", name, STRATEGIES)
    import tensorflow as tf

    if name == "none":
        return tf.distribute.get_strategy()
    if name == "mirrored":
        gpus = tf.config.list_logical_devices("GPU")
        devices = gpus or tf.config.list_logical_devices("CPU")
        return tf.distribute.MirroredStrategy([device.name for device in devices])
    try:
        return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=_resolver())
    except RuntimeError as error:
        raise ValueError(
            'make_strategy("multi_worker") must be called before anything else is '
            f"done with TensorFlow in the process. Received: {error}"
        ) from error


def _resolver() -> tf.distribute.cluster_resolver.ClusterResolver:
    import tensorflow as tf

    resolvers = tf.distribute.cluster_resolver
    if "TF_CONFIG" in os.environ:
        check_tf_config(os.environ["TF_CONFIG"])
        return resolvers.TFConfigClusterResolver()
    if all(name in os.environ for name in _SLURM):
        return resolvers.SlurmClusterResolver()
    raise ValueError(
        'strategy="multi_worker" needs the environment variable TF_CONFIG, or to be '
        f"started by Slurm (which sets {' and '.join(_SLURM)}). Received: neither"
    )


def check_tf_config(text: str) -> dict[str, Any]:
    """Returns what `TF_CONFIG` holds.

    Raises:
        ValueError: if it is not JSON, names no workers, or not which of them this
            process is.
    """

    def bad(rule: str) -> ValueError:
        form = '{"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", '
        return ValueError(
            f'`TF_CONFIG` must {rule}, as in {form}"index": 0}}}}. '
            f"Received: TF_CONFIG={text!r}"
        )

    try:
        config = json.loads(text)
    except ValueError as error:
        raise bad(f"be JSON ({error})") from error
    if not isinstance(config, dict):
        raise bad("be a JSON object")
    cluster, task = config.get("cluster"), config.get("task")
    known = ("chief", "worker")
    if not isinstance(cluster, dict) or not any(cluster.get(name) for name in known):
        raise bad("name the workers")
    for name in known:
        addresses = cluster.get(name, [])
        if not isinstance(addresses, list) or not all(
            isinstance(address, str) and address.rpartition(":")[2].isdigit()
            for address in addresses
        ):
            raise bad(f"give each {name} as host:port")
    if not isinstance(task, dict) or task.get("type") not in known:
        raise bad("say that this process is a worker (or the chief)")
    kind = task["type"]
    try:
        index = int(task["index"])
    except (KeyError, TypeError, ValueError):
        raise bad("say which worker this process is") from None
    if not 0 <= index < len(cluster.get(kind, [])):
        raise bad(f"say which {kind} of its list this process is")
    return config


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Returns whether this process is the one that writes files and prints.

    Of the workers of `"multi_worker"` it is the chief, or else the first. Under any
    other strategy there is one process.

    Example:

    >>> chief = tfhyper.training.is_chief(tf.distribute.get_strategy())
    >>> chief
    True
    >>> workdir = tfhyper.training.Workdir("runs/wrn", {"epochs": 20}, chief=chief)
    """
    if strategy is None:
        raise TypeError("`strategy` must be given. Received: strategy=None")
    check_is_strategy(strategy)
    resolver = strategy.cluster_resolver
    if resolver is None or not resolver.cluster_spec():
        return True
    if "chief" in resolver.cluster_spec().jobs:
        return resolver.task_type == "chief"
    return resolver.task_type in (None, "", "worker") and not resolver.task_id


def check_is_strategy(strategy: tf.distribute.Strategy | None) -> None:
    """Raises TypeError unless it is a strategy of `tf.distribute`, or `None`."""
    if strategy is None:
        return
    import tensorflow as tf

    check_instance(
        "strategy", strategy, tf.distribute.Strategy, "a `tf.distribute` one"
    )


def local_devices(strategy: tf.distribute.Strategy) -> tuple[str, ...]:
    """Returns the devices of this process; ("",) without a strategy."""
    if strategy.num_replicas_in_sync == 1:
        return ("",)  # which the default strategy does not tell
    return strategy.extended.worker_devices


def num_workers(strategy: tf.distribute.Strategy) -> int:
    """Returns how many processes train together."""
    return strategy.num_replicas_in_sync // len(local_devices(strategy))


@contextlib.contextmanager
def lost_workers() -> Iterator[None]:
    """Says what to do, where TensorFlow says that another worker is gone.

    Raises:
        RuntimeError: in place of the errors of TensorFlow.
    """
    import tensorflow as tf

    try:
        yield
    except (tf.errors.UnavailableError, tf.errors.AbortedError) as error:
        raise RuntimeError(
            "Another worker is gone. Start all workers again: `fit_in_workdir` goes on "
            f"from the checkpoint of the chief. TensorFlow says: {error.message}"
        ) from error


def sum_over_workers(strategy: tf.distribute.Strategy, values: list[int]) -> list[int]:
    """Returns the sums of some numbers over the workers, which all call this."""
    if num_workers(strategy) == 1:
        return values
    import tensorflow as tf

    devices = len(local_devices(strategy))
    with lost_workers():
        each = strategy.run(lambda: tf.constant(values))
        total = strategy.reduce("SUM", each, axis=None).numpy()
    return [int(value) // devices for value in total]


def check_batches(
    strategy: tf.distribute.Strategy, data: Any, weight_sets: int = 1
) -> None:
    """Raises ValueError if the batches of an epoch cannot be divided evenly.

    Args:
        strategy: whose replicas share each batch.
        data: what `tfhyper.data.load` returns; of anything without a `batch_size`
            nothing is known.
        weight_sets: int > 0, draws of each replica, that share its part.
    """
    sets = check_positive_integer("weight_sets", weight_sets)
    replicas = strategy.num_replicas_in_sync
    size = getattr(data, "batch_size", None)
    if size is None:
        return
    parts = f"{replicas} replicas" + f" x {sets} weight sets" * (sets > 1)
    rest = data.num_train % size
    for name, count in (
        ("`data.batch_size`", size),
        ("the last batch of an epoch", rest),
    ):
        if count % (replicas * sets):
            raise ValueError(
                f"{name} must be divided evenly by {parts}, so that each example "
                f"counts the same. Received: {count} examples"
            )


def check_strategy(model: keras.Model) -> None:
    """Raises ValueError for what fails, or is silently wrong, under a strategy.

    Args:
        model: compiled in the scope of the strategy.
    """
    check_no_keras_distribution()
    strategy = model.distribute_strategy
    devices = local_devices(strategy)
    if model.jit_compile and len(devices) > 1 and "CPU" in devices[0].upper():
        raise ValueError(
            "`jit_compile` must be False on several CPU replicas: XLA cannot reach the "
            f"variables of the second. Received: jit_compile={model.jit_compile}, "
            f"{len(devices)} CPU replicas"
        )
    if strategy.num_replicas_in_sync == 1:
        return
    for what, variables in (
        ("model", model.variables),
        ("optimizer", model.optimizer.variables),
    ):
        for variable in variables:
            if not strategy.extended.variable_created_in_scope(variable.value):
                raise ValueError(
                    f"The {what} must be made in the scope of the strategy: `with "
                    f"strategy.scope(): ...`. Received: variable {variable.path}, made "
                    "outside of it, which replicas would not keep the same"
                )
    if isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer):
        raise ValueError(
            "Loss scaling must not look for overflows on several replicas: Keras sees "
            "those of the first replica alone. Use mixed_bfloat16, or give `compile` "
            "`auto_scale_loss=False` and an optimizer with a `loss_scale_factor`. "
            f"Received: optimizer={model.optimizer.name!r}, a LossScaleOptimizer"
        )
    steps = getattr(model.optimizer, "gradient_accumulation_steps", None)
    if steps:
        raise ValueError(
            "`gradient_accumulation_steps` must be None on several replicas: Keras "
            f"cannot keep its sums there. Received: gradient_accumulation_steps={steps}"
        )


def check_no_keras_distribution() -> None:
    """Raises ValueError if a `keras.distribution` is set on TensorFlow.

    Keras 3 does nothing with it there, so that one device would train alone.
    """
    if keras.backend.backend() != "tensorflow":
        return
    found = keras.distribution.distribution()
    if found is not None:
        raise ValueError(
            "`keras.distribution` does nothing on the TensorFlow backend: use "
            "`tfhyper.training.make_strategy`, or the JAX backend. Received: "
            f"keras.distribution.distribution()={found!r}"
        )
