"""The masked RealNVP flow of multiplicative normalizing flows.

`RealNVPFlow` of `real_nvp_flow` has the same parts by the same names.
"""

import functools
from typing import Any

import keras
import numpy as np
from keras import ops

from tfhyper.tensor_types import Tensor

# A gate starts near sigmoid(2) = 0.88: a coupling keeps most of what it is given.
_GATE_BIAS = 2.0


class MaskedFlow:
    """Affine couplings over a vector whose kept part is drawn: z' = f(z, masks).

    One coupling (Louizos and Welling, 2017, equations 9 and 10) has a mask m of
    zeros and ones, each 1 with probability 1/2 and drawn anew each time:

        h     = tanh(f(m z))
        shift = g(h)
        gate  = sigmoid(k(h))
        z'    = m z + (1 - m) (gate z + (1 - gate) shift)
        log |dz'/dz| = sum (1 - m) log gate

    where f, g and k are linear with a bias, and products go by the entry. The
    weights start by He's method with the mean of fan-in and fan-out, as in the
    authors' code.

    Args:
        layer: a `keras.Layer`, which owns the variables.
        name: start of the variables' names.
        units: int > 0, length of z.
        num_couplings: int >= 0. With 0, z stays as it is.
        hidden_units: int > 0, length of h.
        center: float, where the biases of the shifts start.

    Attributes:
        units: as given.

    Reference:
        Louizos and Welling: Multiplicative normalizing flows for variational
        Bayesian neural networks, ICML 2017.
    """

    def __init__(
        self,
        layer: keras.Layer,
        name: str,
        units: int,
        num_couplings: int,
        hidden_units: int,
        center: float = 0.0,
    ):
        self.units = units
        self._couplings = [
            _Coupling(layer, f"{name}_{i}", units, hidden_units, center)
            for i in range(num_couplings)
        ]

    def forward(self, z: Tensor, masks: Tensor) -> tuple[Any, Any]:
        """Returns f(z, masks) and log |det df/dz|.

        Args:
            z: tensor (n, units).
            masks: tensor (num_couplings, n, units), zeros and ones.

        Returns:
            Tensors (n, units) and (n,).
        """
        log_det = ops.zeros_like(z[:, 0])
        for i, coupling in enumerate(self._couplings):
            mask = masks[i]
            shift, logits = coupling.shift_and_logits(mask * z)
            gate, rest = ops.sigmoid(logits), ops.sigmoid(-logits)
            changed = gate * z + rest * shift
            z = mask * z + (1.0 - mask) * changed
            log_gate = ops.log_sigmoid(logits)
            log_det = log_det + ops.sum((1.0 - mask) * log_gate, axis=-1)
        return z, log_det

    @property
    def variables(self) -> list[keras.Variable]:
        """All of the couplings' variables."""
        return [x for coupling in self._couplings for x in coupling.variables]

    def set_center(self, center: float) -> None:
        """Makes every coupling shrink towards `center`, whatever z is.

        Then a z with this mean comes out with this mean.
        """
        for coupling in self._couplings:
            coupling.set_center(center)


class _Coupling:
    """f, g and k of one coupling."""

    def __init__(
        self,
        layer: keras.Layer,
        name: str,
        units: int,
        hidden_units: int,
        center: float,
    ):
        add_weight = functools.partial(keras.Layer.add_weight, layer, autocast=False)

        def linear(part: str, units_in: int, units_out: int, bias: float) -> tuple:
            kernel = add_weight(
                (units_in, units_out),
                initializer=keras.initializers.VarianceScaling(
                    2.0, "fan_avg", "untruncated_normal"
                ),
                name=f"{name}_{part}",
            )
            initializer = keras.initializers.Constant(bias)
            return kernel, add_weight(
                (units_out,), initializer=initializer, name=f"{name}_{part}_bias"
            )

        self._hidden = linear("hidden", units, hidden_units, 0.0)
        self._shift = linear("shift", hidden_units, units, center)
        self._gate = linear("gate", hidden_units, units, _GATE_BIAS)

    @property
    def variables(self) -> list[keras.Variable]:
        return [*self._hidden, *self._shift, *self._gate]

    def shift_and_logits(self, kept: Tensor) -> tuple[Any, Any]:
        """Returns the shift and the logit of the gate."""
        hidden = ops.tanh(_linear(kept, self._hidden))
        return _linear(hidden, self._shift), _linear(hidden, self._gate)

    def set_center(self, center: float) -> None:
        for (kernel, bias), value in ((self._shift, center), (self._gate, _GATE_BIAS)):
            kernel.assign(np.zeros(kernel.shape))
            bias.assign(np.full(bias.shape, value))


def _linear(inputs: Tensor, weights: tuple[keras.Variable, keras.Variable]) -> Tensor:
    kernel, bias = weights
    return ops.matmul(inputs, kernel) + bias
