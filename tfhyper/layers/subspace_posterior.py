"""Variables of any layer as points of a line, a curve or a simplex of weights."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tfhyper.checks import check_number
from tfhyper.layers.chosen_variables import ChosenVariable
from tfhyper.layers.generated_kernel import check_code_shape
from tfhyper.layers.noise import NoiseKind, is_mean
from tfhyper.layers.seeds import StatelessSeed, derive_seed
from tfhyper.layers.subspaces import KIND, SPREAD, SubspaceKind, check_subspace
from tfhyper.layers.variable_posterior import VariablePosterior
from tfhyper.tensor_types import Tensor


@keras.saving.register_keras_serializable("tfhyper")
class SubspacePosterior(VariablePosterior):
    """Each chosen variable = a point of a subspace of weights, between its corners.

    For coordinates c the variables have the values

        w = sum_i c_i w_i

    where the corners w_i are trained, each a variable of its own: the first is the
    layer's, the others are the posterior's. By `kind`

        line      c = (1 - a, a)                          a ~ U(0, 1)
        curve     c = ((1 - a)^2, 2 a (1 - a), a^2)       a ~ U(0, 1)
        simplex   c uniform on the simplex: c_i >= 0, sum_i c_i = 1

    The curve is a quadratic Bezier curve, bent by its second corner. Each corner starts
    as the layer would, by its initializers, with other random numbers. A call in
    training draws c; one outside of training has the midpoint, a = 1/2 or c_i = 1 /
    corners. It adds nothing to the loss: the cosine term of the paper is that of
    `tfhyper.layers.SubspacePoint`, whose coordinates layers share.

    Each corner has the role of a plain variable to weight decay. A regularizer acts on
    the drawn values, a constraint on each corner.

    Args:
        kind: `"line"`, `"curve"` or `"simplex"`.
        corners: int > 1: 2 for a line, 3 for a curve, which is what `None` stands for;
            3 of a simplex unless given.
        spread: float >= 0, how far from trained weights the corners of a converted
            layer are: each is moved by spread * sqrt(2 / fan_in) * N(0, 1), and all
            together so that the midpoint has the trained weights.
        seed: int in 0 <= seed < 2**31, or `None` for a fresh one.
        **kwargs: `keras.layers.Layer` arguments.

    Raises:
        ValueError: for an unknown kind, corners that do not go with it, or a negative
            spread.

    Example:

    >>> posterior = tfhyper.layers.SubspacePosterior("curve")
    >>> layer = tfhyper.layers.RandomVariables(
    ...     keras.layers.Dense(4), posterior, where=["kernel", "bias"])
    >>> layer(keras.ops.ones((2, 3))).shape
    (2, 4)
    >>> [v.name for v in layer.trainable_variables]
    ['kernel', 'bias', 'kernel_corner1', 'kernel_corner2', 'bias_corner1',
     'bias_corner2']

    `layer(x, code=point)`, with the point of a `tfhyper.layers.SubspacePoint`, shares
    the coordinates of other layers.

    Reference:
        Wortsman, Horton, Guestrin, Farhadi, Rastegari: Learning neural network
        subspaces, ICML 2021, section 3.
    """

    noise_kind = NoiseKind.CODE
    takes_code = True

    def __init__(
        self,
        kind: SubspaceKind = KIND,
        corners: int | None = None,
        spread: float = SPREAD,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(seed, **kwargs)
        self.subspace = check_subspace(kind, corners)
        self.spread = check_number("spread", spread)

    @property
    def code_units(self) -> int:
        """How many coordinates a point has: one for each corner."""
        return self.subspace.corners

    def build_variables(self, chosen: Sequence[ChosenVariable]) -> None:
        """Makes the corners of each variable but the first, which it is itself."""
        others = range(1, self.subspace.corners)
        made = [self.made_anew(derive_seed(self.seed, i)) for i in others]
        self._others = [
            [
                self.add_weight(
                    x.variable.shape,
                    initializer=_ValueOf(corner[k]),
                    constraint=x.variable.constraint,
                    trainable=x.variable.trainable,
                    autocast=False,
                    name=f"{x.name}_corner{i}",
                )
                for i, corner in zip(others, made, strict=True)
            ]
            for k, x in enumerate(chosen)
        ]

    def corner_variables(self) -> list[list[keras.Variable]]:
        """Returns the corners of each chosen variable, in their order."""
        return [
            [x.variable, *others]
            for x, others in zip(self.chosen, self._others, strict=True)
        ]

    def begin_call(self, inputs: Tensor, training: bool | None) -> Tensor:
        """Returns the coordinates of the next call; counts those of training."""
        if not training:
            return self.mean_noise()
        seed = StatelessSeed(self.seed, self.next_count(training))
        return self.subspace.coordinates(seed)

    def values(self, noise: Tensor) -> list[Tensor]:
        """Returns the point of each chosen variable, for coordinates (1, corners)."""
        code = self.mean_noise() if is_mean(noise) else noise
        check_code_shape(code.shape, self.code_units)
        found = []
        for corners in self.corner_variables():
            parts = [
                ops.cast(code[0, i], corner.dtype) * corner
                for i, corner in enumerate(corners)
            ]
            found.append(sum(parts[1:], parts[0]))
        return found

    def sample_noise(
        self, seed: int, index: int = 0, ensemble_seed: int = 0
    ) -> np.ndarray:
        """Returns the coordinates of one draw, (1, corners)."""
        return ops.convert_to_numpy(self.fresh_noise(seed, 0))

    def fresh_noise(self, seed: Tensor, count: Tensor, index: Tensor = 0) -> Tensor:
        """Returns coordinates as `sample_noise`, in tensors."""
        return self.subspace.coordinates(StatelessSeed(seed, count))

    def mean_noise(self) -> np.ndarray:
        """Returns the coordinates of the midpoint, (1, corners).

        That is the mean of a line and of a simplex. The mean of a curve is no point of
        it, and nothing that was trained: its midpoint stands for it.
        """
        return self.subspace.midpoint

    def set_mean(self) -> None:
        """Spreads the corners around the layer's present weights: see `spread`."""
        generator = np.random.default_rng(self.seed)
        weights = self.subspace.midpoint[0].astype("float64")
        for x, corners in zip(self.chosen, self.corner_variables(), strict=True):
            mean = ops.convert_to_numpy(x.variable)
            moves = generator.standard_normal((len(corners), *mean.shape))
            moves -= np.tensordot(weights, moves, axes=1)
            for corner, move in zip(corners, moves, strict=True):
                corner.assign(mean + self.spread * x.deviation * move)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the posterior."""
        return {
            **super().get_config(),
            "kind": self.subspace.kind,
            "corners": self.subspace.corners,
            "spread": self.spread,
        }


class _ValueOf(keras.initializers.Initializer):
    """Gives the value of a variable, which may be made only when it is asked for."""

    def __init__(self, variable: keras.Variable):
        self._variable = variable

    def __call__(self, shape: Any, dtype: Any = None) -> Tensor:
        """Returns the value."""
        return ops.cast(ops.stop_gradient(self._variable.value), dtype)
