"""The random code z that generators turn into kernels."""

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import keras
from keras import ops

from tfhyper.checks import check_choice, check_positive_integer
from tfhyper.layers.code_layer import CodeLayer
from tfhyper.layers.seeds import StatelessSeed
from tfhyper.tensor_types import Tensor

# The priors p(z) of Ukai et al. (2019), section 4.2.
Prior: TypeAlias = Literal["normal", "uniform", "symmetric_uniform", "half_normal"]
PRIORS: dict[Prior, Callable[[tuple[int, ...], Any], Tensor]] = {
    "normal": lambda shape, seed: keras.random.normal(shape, seed=seed),
    "uniform": lambda shape, seed: keras.random.uniform(shape, seed=seed),
    "symmetric_uniform": lambda shape, seed: keras.random.uniform(
        shape, -1.0, 1.0, seed=seed
    ),
    "half_normal": lambda shape, seed: ops.abs(keras.random.normal(shape, seed=seed)),
}


@keras.saving.register_keras_serializable("tfhyper")
class LatentCode(CodeLayer):
    """A random code z ~ p(z) of shape (1, units), drawn anew at each call.

    Called on any tensor of the network (its value is not used), it gives one
    code for the whole batch. Hand that code to several `HyperConv2D` layers and
    their kernels come from the same z: the all-in-one sharing of Ukai et al.
    (2019), section 3.2.

    z is a function of (seed, count). The two counts, of the calls in training
    and of the others, are one non-trainable weight: a saved and reloaded
    network goes on with the draw that the first would have made next, and
    evaluating a network between training steps does not change its training.

    Args:
        units: int > 0, the size of z. The paper uses 16 or 32.
        prior: the distribution of each component: `"normal"` N(0, 1),
            `"uniform"` U(0, 1), `"symmetric_uniform"` U(-1, 1) or
            `"half_normal"` |N(0, 1)|.
        seed: int in 0 <= seed < 2**31, or `None` for a fresh one, which the
            config then holds.
        **kwargs: `keras.layers.Layer` arguments such as `name`.

    Call arguments:
        inputs: any tensor.
        training: bool, which of the two counts to use and advance.

    Output shape:
        `(1, units)`, float32 whatever the dtype policy.

    Raises:
        ValueError: for an unknown prior, non-positive units or a bad seed.

    Example:

    >>> x = keras.Input((32, 32, 3))
    >>> z = tfhyper.layers.LatentCode(16, prior="uniform")(x)
    >>> y = tfhyper.layers.HyperConv2D(8, 3)(x, z)
    >>> tfhyper.layers.HyperConv2D(8, 3)(y, z).shape
    (None, 28, 28, 8)

    Reference:
        Ukai, Matsubara, Uehara: Bayesian estimation and model averaging of
        convolutional neural networks by hypernetwork, NOLTA 10(1), 2019.
    """

    def __init__(
        self,
        units: int = 32,
        prior: Prior = "normal",
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(seed, **kwargs)
        self.units = check_positive_integer("units", units)
        self.prior = check_choice("prior", prior, PRIORS)

    def draw(self, seed: StatelessSeed) -> Tensor:
        """Returns the code z, (1, units), of one draw."""
        return PRIORS[self.prior]((1, self.units), seed)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return {**config, "units": self.units, "prior": self.prior}
