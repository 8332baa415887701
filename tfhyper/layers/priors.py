"""Priors of weights: TensorFlow Probability's distributions, as plain data.

A layer keeps its prior as a dict of names and numbers, so that a saved model
holds no code, and makes the distribution of it where it is used. This is the
one module of the layers that imports TensorFlow Probability, and only then:
`tensorflow_probability` on TensorFlow, its JAX substrate on JAX. Where there is
none (torch, or a JAX without it) the Gaussian prior works by its formula.
"""

import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

import keras
import numpy as np
from keras import ops

from tfhyper.checks import check_number
from tfhyper.tensor_types import Tensor

# The prior by name, which is no distribution: it has no finite mass.
LOG_UNIFORM = "log_uniform"
# Of log alpha. Above, the divergence is below 2e-4 and a weight is noise; below, alpha
# is no more than rounding of a float32.
_LOG_ALPHAS = (-20.0, 8.0)
# Of squares that a logarithm is taken of.
_TINY_SQUARE = 1e-30


def probability_library() -> Any:
    """Returns TensorFlow Probability for this backend, or `None`."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow_probability

        return tensorflow_probability
    if backend == "jax":
        try:
            from tensorflow_probability.substrates import jax as substrate

            substrate.distributions.Normal  # noqa: B018 - loaded when it is asked
        except (ImportError, AttributeError):
            return None  # not installed, or made for another JAX
        return substrate
    return None


def scale_mixture(
    mixture: float = 0.5, scale_1: float = 1.0, scale_2: float = 0.0025
) -> Any:
    """Returns the scale mixture prior of Blundell et al. (2015), equation 7.

        p(w) = mixture N(w; 0, scale_1^2) + (1 - mixture) N(w; 0, scale_2^2)

    Args:
        mixture: float in 0 < mixture < 1. The paper tries 1/4, 1/2, 3/4.
        scale_1: float > 0. The paper tries exp(0), exp(-1), exp(-2).
        scale_2: float > 0, smaller. The paper tries exp(-6), exp(-7), exp(-8).

    Returns:
        A `tfp.distributions.MixtureSameFamily`.

    Raises:
        ValueError: for a number out of its range.
        ImportError: if this backend has no TensorFlow Probability.

    Example:

    >>> prior = tfhyper.layers.scale_mixture(0.25, 1.0, 0.001)
    >>> layer = tfhyper.layers.BayesDense(10, prior=prior)
    >>> layer(keras.random.normal((2, 64))).shape
    (2, 10)

    Reference:
        Blundell et al.: Weight uncertainty in neural networks, ICML 2015.
    """
    check_number("mixture", mixture, positive=True, below=1)
    for name, scale in (("scale_1", scale_1), ("scale_2", scale_2)):
        check_number(name, scale, positive=True)
    tfd = need_library().distributions
    return tfd.MixtureSameFamily(
        tfd.Categorical(probs=np.array([mixture, 1 - mixture], "float32")),
        tfd.Normal(np.zeros(2, "float32"), np.array([scale_1, scale_2], "float32")),
    )


def log_uniform_kl(mean: Tensor, scale: Tensor, mask: Tensor | None = None) -> Tensor:
    """Returns sum KL(N(mean, scale^2) || log-uniform prior), in nats, up to a constant.

    The prior p(w) ~ 1 / |w| has no finite mass, so that the divergence is known but for
    a constant, chosen so that it is 0 for alpha without bound, and positive else. Of
    alpha = scale^2 / mean^2, the dropout rate p over 1 - p that has this noise, it is

        k1 - k1 sigmoid(k2 + k3 log alpha) + 0.5 log(1 + 1 / alpha)

    to about 0.01, with k1 = 0.63576, k2 = 1.87320, k3 = 1.48695 (Molchanov et al.,
    2017, equation 14). log alpha is clipped to -20 ... 8, beyond which nothing pulls.

    Args:
        mean: tensor.
        scale: tensor of the same shape, above 0.
        mask: as for `normal_kl`.
    """
    log_square = ops.log(ops.maximum(ops.square(mean), _TINY_SQUARE))
    log_alpha = ops.clip(2.0 * ops.log(scale) - log_square, *_LOG_ALPHAS)
    rest = 0.63576 * ops.sigmoid(-1.87320 - 1.48695 * log_alpha)
    return _total(rest + 0.5 * ops.softplus(-log_alpha), mask)


def serialize(prior: Any) -> dict | str | None:
    """Returns a distribution as a dict of names and numbers.

    Args:
        prior: a TFP distribution made of numbers, bijectors and other
            distributions; a dict that this function returned; `"log_uniform"`; or
            `None`.

    Raises:
        TypeError: for anything else, among it distributions that hold functions
            or trainable variables, and distributions of integers.
        ImportError: if this backend has no TensorFlow Probability.
    """
    if prior is None or prior_is_log_uniform(prior):
        return prior
    if isinstance(prior, str):
        raise ValueError(
            f'`prior` must be a TFP distribution, None or "{LOG_UNIFORM}". '
            f"Received: prior={prior!r}"
        )
    if not isinstance(prior, dict):
        prior = _to_config(prior, "prior")
    deserialize(prior)  # an unknown name is found here, not in training
    return prior


def prior_is_log_uniform(prior: Any) -> bool:
    """Whether a prior, or its config, is the log-uniform one."""
    return isinstance(prior, str) and prior == LOG_UNIFORM


def deserialize(config: dict) -> Any:
    """Returns the TFP distribution of a dict from `serialize`."""
    prior = _from_config(config)
    if not isinstance(prior, need_library().distributions.Distribution):
        raise _bad("prior", type(prior).__name__, config)
    # TensorFlow's dtypes have a `name`, JAX's are types; several make a list.
    dtype = getattr(prior.dtype, "name", getattr(prior.dtype, "__name__", ""))
    if "float" not in dtype:
        raise _bad("prior", f"a distribution of {prior.dtype}", config)
    return prior


def check_shape(config: dict | str, name: str, shape: tuple[int, ...]) -> None:
    """Raises ValueError unless a prior gives the weights of a shape a density."""
    if not isinstance(config, dict):
        return  # it is one of each weight
    prior = deserialize(config)
    event = tuple(prior.event_shape)
    batch = tuple(prior.batch_shape)
    split = len(shape) - len(event)
    fits = split >= 0 and tuple(shape[split:]) == event
    if fits:
        try:
            fits = np.broadcast_shapes(batch, shape[:split]) == tuple(shape[:split])
        except ValueError:
            fits = False
    if not fits:
        raise ValueError(
            f"`prior` must have an event shape that ends the shape of the {name}, "
            f"{tuple(shape)}, and a batch shape that broadcasts to the rest. "
            f"Received: prior={config['class_name']} with event_shape={event} and "
            f"batch_shape={batch}"
        )
    # A posterior that reaches where the prior is 0 is infinitely far from it.
    for weight in (-100.0, -1.0, -0.1, 0.1, 1.0, 100.0):
        weights = np.full(event, weight, keras.backend.standardize_dtype(prior.dtype))
        if not np.isfinite(ops.convert_to_numpy(prior.log_prob(weights))).all():
            raise ValueError(
                "`prior` must have a density above 0 for every real weight, as the "
                f"Gaussian posterior has. Received: prior={config['class_name']}, "
                f"without one at {weight}"
            )


def check_single(name: str, value: Any, config: dict[str, Any] | str | None) -> None:
    """Raises ValueError if a prior has a density for weights in groups alone."""
    if not isinstance(config, dict):
        return
    event = tuple(deserialize(config).event_shape)
    if event:
        raise ValueError(
            f"`{name}` needs a prior with a density for each weight by itself, of "
            f"event_shape=(). Received: {name}={value!r}, and a prior "
            f"{config['class_name']} with event_shape={event}"
        )


def normal_kl(
    mean: Tensor,
    scale: Tensor,
    prior_mean: Tensor,
    prior_scale: Tensor,
    mask: Tensor | None = None,
) -> Tensor:
    """Returns sum KL(N(mean, scale^2) || N(prior_mean, prior_scale^2)), in nats.

    With a mask of the shape of `mean`, the sum over the weights where it is not 0.
    """
    library = probability_library()
    if library is not None:
        tfd = library.distributions
        prior_mean = ops.broadcast_to(ops.cast(prior_mean, mean.dtype), mean.shape)
        prior_scale = ops.cast(prior_scale, mean.dtype)
        prior = tfd.Normal(prior_mean, prior_scale)
        return _total(tfd.kl_divergence(tfd.Normal(mean, scale), prior), mask)
    ratio = scale / prior_scale
    shift = (mean - prior_mean) / prior_scale
    halves = 0.5 * (ops.square(ratio) + ops.square(shift) - 1.0)
    return _total(halves - ops.log(ratio), mask)


def kl_divergence(
    mean: Tensor,
    scale: Tensor,
    config: dict[str, Any] | str,
    noise: Callable[[], Tensor],
    mask: Tensor | None = None,
) -> Tensor:
    """Returns KL(N(mean, scale^2) || prior), in nats, for any TFP prior.

    In closed form where TFP registers one, and by `log_uniform_kl` of that prior;
    otherwise the estimate

        log q(w) - log p(w),    w = mean + scale noise()

    of Blundell et al. (2015), equation 2, with one draw of w.

    Args:
        mean: tensor.
        scale: tensor of the same shape.
        config: a prior from `serialize`.
        noise: called without arguments, gives N(0, 1) of that shape.
        mask: tensor of that shape, 0 for weights to leave out, for priors of
            single weights; or `None`.
    """
    if not isinstance(config, dict):
        return log_uniform_kl(mean, scale, mask)
    tfd = need_library().distributions
    prior = deserialize(config)
    # In the prior's precision: numbers from NumPy make a prior of float64.
    dtype, prior_dtype = mean.dtype, keras.backend.standardize_dtype(prior.dtype)
    mean, scale = ops.cast(mean, prior_dtype), ops.cast(scale, prior_dtype)
    posterior = tfd.Normal(mean, scale)
    event_rank = len(prior.event_shape)
    if event_rank:
        posterior = tfd.Independent(posterior, event_rank)
    try:
        return ops.cast(_total(tfd.kl_divergence(posterior, prior), mask), dtype)
    except NotImplementedError:
        pass
    weights = mean + scale * ops.cast(noise(), prior_dtype)
    log_ratio = posterior.log_prob(weights) - prior.log_prob(weights)
    return ops.cast(_total(log_ratio, mask), dtype)


def _total(values: Tensor, mask: Tensor | None) -> Tensor:
    # Chosen, not multiplied: 0 times an infinite density would be NaN.
    return ops.sum(values if mask is None else ops.where(mask > 0, values, 0.0))


def need_library() -> ModuleType:
    """Returns TensorFlow Probability, or raises ImportError where it is not."""
    library = probability_library()
    if library is None:
        raise ImportError(
            "A `prior` needs TensorFlow Probability, which is there for TensorFlow "
            "and, with its JAX substrate installed, for JAX. With the backend "
            f"{keras.backend.backend()!r}, use `prior_scale`."
        )
    return library


def _kinds() -> dict[str, tuple[ModuleType, type]]:
    library = need_library()
    return {
        "distribution": (library.distributions, library.distributions.Distribution),
        "bijector": (library.bijectors, library.bijectors.Bijector),
    }


def _to_config(value: Any, name: str) -> Any:
    """Returns a distribution, bijector or number as data; `name` is for errors."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [_to_config(v, name) for v in value]
    for kind, (module, base) in _kinds().items():
        if isinstance(value, base):
            class_name = type(value).__name__
            if getattr(module, class_name, None) is not type(value):
                raise _bad(name, f"{class_name}, which TFP does not export", value)
            return {
                "kind": kind,
                "class_name": class_name,
                "parameters": _parameters(value, name),
            }
    trains = getattr(value, "trainable", False)
    # A transformed variable of TFP has its variable inside.
    if callable(value) or trains or getattr(value, "trainable_variables", ()):
        raise _bad(name, "a function or a trainable variable", value)
    try:
        array = np.asarray(value)
    except Exception as error:
        raise _bad(name, type(value).__name__, value) from error
    _check_numbers(array, name)
    return {"kind": "array", "dtype": str(array.dtype), "values": array.tolist()}


def _check_numbers(array: np.ndarray, name: str = "prior") -> np.ndarray:
    if array.dtype.kind not in "fiub":
        raise _bad(name, f"an array of {array.dtype}", array)
    return array


def _parameters(value: Any, name: str) -> dict[str, Any]:
    defaults = inspect.signature(type(value).__init__).parameters
    return {
        key: _to_config(parameter, f"{name}.{key}")
        for key, parameter in value.parameters.items()
        if key in defaults
        and key != "name"
        and parameter is not defaults[key].default
        and parameter is not None
    }


def _bad(name: str, what: str, value: Any) -> TypeError:
    return TypeError(
        f"`{name}` must be a TFP distribution made of numbers, bijectors and other "
        f"distributions, so that it can be saved. Received: {what} ({value!r})"
    )


def _from_config(config: Any) -> Any:
    if isinstance(config, list):
        return [_from_config(c) for c in config]
    if not isinstance(config, dict):
        return config
    kind = config.get("kind")
    if kind == "array":
        return _check_numbers(np.array(config.get("values"), config.get("dtype")))
    if kind not in ("distribution", "bijector"):
        raise _bad("prior", "a dict of another origin", config)
    module, base = _kinds()[kind]
    cls = getattr(module, str(config.get("class_name")), None)
    if not (inspect.isclass(cls) and issubclass(cls, base)):
        raise _bad("prior", f"an unknown {kind}", config.get("class_name"))
    parameters = config.get("parameters")
    if not isinstance(parameters, dict):
        raise _bad("prior", f"a {kind} without parameters", config)
    return cls(**{k: _from_config(v) for k, v in parameters.items()})
