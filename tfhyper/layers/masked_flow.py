"""The masked RealNVP flow of multiplicative normalizing flows."""

import functools

import keras
import numpy as np
from keras import ops

# A gate starts near sigmoid(2) = 0.88: a step keeps most of what it is given.
_GATE_BIAS = 2.0


class MaskedFlow:
    """The variables of a masked RealNVP flow that a layer owns, and its formulas.

    Of one step (Louizos and Welling, 2017, equations 9 and 10), with a mask m of
    zeros and ones, each 1 with probability 1/2 and drawn anew each time,

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
        size: int > 0, entries of z.
        num_flows: int >= 0, steps. With 0, z stays as it is.
        width: int > 0, entries of h.
        center: float, where the biases of the shifts start.

    Attributes:
        num_flows, size: as given.
    """

    def __init__(self, layer, name, size, num_flows, width, center=0.0):
        self.num_flows, self.size = num_flows, size
        self._steps = [
            _Step(layer, f"{name}_{i}", size, width, center) for i in range(num_flows)
        ]

    def __call__(self, codes, masks):
        """Returns the flow's outputs and log |d outputs / d codes|.

        Args:
            codes: tensor (n, size).
            masks: tensor (num_flows, n, size), zeros and ones.

        Returns:
            Tensors (n, size) and (n,).
        """
        log_det = ops.zeros_like(codes[:, 0])
        for i, step in enumerate(self._steps):
            mask = masks[i]
            shift, logits = step(mask * codes)
            gate, rest = ops.sigmoid(logits), ops.sigmoid(-logits)
            moved = gate * codes + rest * shift
            codes = mask * codes + (1.0 - mask) * moved
            log_gate = ops.log_sigmoid(logits)
            log_det = log_det + ops.sum((1.0 - mask) * log_gate, axis=-1)
        return codes, log_det

    @property
    def variables(self) -> list[keras.Variable]:
        """The variables of all steps."""
        return [variable for step in self._steps for variable in step.variables]

    def set_center(self, center: float) -> None:
        """Makes every step shrink towards `center`, whatever z is.

        Then a z with this mean comes out with this mean.
        """
        for step in self._steps:
            step.set_center(center)


class _Step:
    """f, g and k of one step."""

    def __init__(self, layer, name, size, width, center):
        add_weight = functools.partial(keras.Layer.add_weight, layer, autocast=False)

        def linear(part, units_in, units_out, bias):
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

        self._hidden = linear("hidden", size, width, 0.0)
        self._shift = linear("shift", width, size, center)
        self._gate = linear("gate", width, size, _GATE_BIAS)

    @property
    def variables(self):
        return [*self._hidden, *self._shift, *self._gate]

    def __call__(self, kept):
        """Returns the shift and the logit of the gate."""
        hidden = ops.tanh(_linear(kept, self._hidden))
        return _linear(hidden, self._shift), _linear(hidden, self._gate)

    def set_center(self, center):
        for (kernel, bias), value in ((self._shift, center), (self._gate, _GATE_BIAS)):
            kernel.assign(np.zeros(kernel.shape))
            bias.assign(np.full(bias.shape, value))


def _linear(inputs, weights):
    kernel, bias = weights
    return ops.matmul(inputs, kernel) + bias
