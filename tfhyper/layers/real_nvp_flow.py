"""The RealNVP flow, whose halves change each other: a density in closed form.

`MaskedFlow` of `masked_flow` has the same parts by the same names.
"""

from typing import Any

import keras
from keras import ops

from tfhyper.checks import check_integer, check_positive_integer
from tfhyper.layers.priors import need_library
from tfhyper.tensor_types import Tensor


class RealNVPFlow:
    """Affine couplings (Dinh et al., 2017) over a vector, x = f(z).

    Coupling number i keeps one half a of its input, the first for an even i, the
    last for an odd one, and changes the other half b:

        h           = tanh(a H + c)
        shift, s    = h O + e, in two halves
        b           -> b exp(tanh(s)) + shift
        log |det J| = sum tanh(s)

    Each factor is between 1/e and e. At the start O is small and c = e = 0: f is
    near the identity, and f(0) = 0. A vector of one component has no half to
    keep: its flow is the identity.

    Args:
        layer: a `keras.Layer`, which owns the variables.
        name: start of the variables' names.
        units: int > 0, length of the vector.
        num_couplings: int >= 0; from 2 on each component can change.
        hidden_units: int > 0, units of each coupling's hidden layer.

    Attributes:
        units: as given.
        couplings: list of the couplings' variables (H, c, O, e).

    Raises:
        ValueError: for an argument out of its range.

    Example:

    >>> class Noise(keras.layers.Layer):
    ...     def build(self, input_shape):
    ...         self.flow = RealNVPFlow(self, "flow", input_shape[-1])
    ...     def call(self, z):
    ...         x, log_det = self.flow.forward(z)
    ...         return x
    >>> Noise()(keras.random.normal((2, 6))).shape
    (2, 6)

    Reference:
        Dinh, Sohl-Dickstein, Bengio: Density estimation using Real NVP, ICLR 2017.
    """

    def __init__(
        self,
        layer: keras.Layer,
        name: str,
        units: int,
        num_couplings: int = 4,
        hidden_units: int = 32,
    ):
        self.units = check_positive_integer("units", units)
        check_integer("num_couplings", num_couplings, 0)
        check_positive_integer("hidden_units", hidden_units)
        self.kept = units // 2
        self.couplings = []
        for i in range(num_couplings if self.kept else 0):
            kept, changed = self._sizes(i)
            shapes = {
                "hidden": (kept, hidden_units),
                "hidden_bias": (hidden_units,),
                "output": (hidden_units, 2 * changed),
                "output_bias": (2 * changed,),
            }
            initializers = {
                "hidden": "glorot_normal",
                "output": keras.initializers.RandomNormal(stddev=0.01),
            }
            self.couplings.append(
                [
                    layer.add_weight(
                        shape=shape,
                        initializer=initializers.get(key, "zeros"),
                        autocast=False,
                        name=f"{name}_{key}_{i}",
                    )
                    for key, shape in shapes.items()
                ]
            )

    @property
    def variables(self) -> list[keras.Variable]:
        """All of the couplings' variables."""
        return [variable for coupling in self.couplings for variable in coupling]

    def _sizes(self, i: int) -> tuple[int, int]:
        """Returns how many components coupling i keeps, and how many it changes."""
        kept = self.kept if i % 2 == 0 else self.units - self.kept
        return kept, self.units - kept

    def shift_and_log_scale(self, i: int, kept: Tensor) -> tuple[Any, Any]:
        """Returns what coupling i does to the half it changes.

        Args:
            i: int, number of the coupling.
            kept: tensor, (..., components kept).
        """
        hidden, hidden_bias, output, output_bias = self.couplings[i]
        features = ops.tanh(ops.matmul(kept, hidden) + hidden_bias)
        shift, raw = ops.split(ops.matmul(features, output) + output_bias, 2, axis=-1)
        return shift, ops.tanh(raw)

    def forward(self, z: Tensor) -> tuple[Any, Any]:
        """Returns f(z) and log |det df/dz|.

        Args:
            z: tensor of shape (..., units) with at least 2 axes.

        Returns:
            Tensors of shape (..., units) and (...).
        """
        log_det = ops.zeros_like(z[..., 0])
        for i in range(len(self.couplings)):
            first, last = z[..., : self.kept], z[..., self.kept :]
            kept, changed = (first, last) if i % 2 == 0 else (last, first)
            shift, log_scale = self.shift_and_log_scale(i, kept)
            changed = changed * ops.exp(log_scale) + shift
            pair = [kept, changed] if i % 2 == 0 else [changed, kept]
            z = ops.concatenate(pair, axis=-1)
            log_det = log_det + ops.sum(log_scale, axis=-1)
        return z, log_det

    def bijector(self) -> Any:
        """Returns the flow as a bijector of TensorFlow Probability.

        For its distributions: `forward` alone takes half as long to compile.

        Raises:
            ImportError: if this backend has no TensorFlow Probability.
        """
        tfb = need_library().bijectors

        def coupling(i: int) -> Any:
            kept, _ = self._sizes(i)
            return tfb.RealNVP(
                num_masked=kept if i % 2 == 0 else -kept,
                shift_and_log_scale_fn=lambda x, *_, **__: self.shift_and_log_scale(
                    i, x
                ),
            )

        # A chain applies its last part first.
        return tfb.Chain([coupling(i) for i in range(len(self.couplings))][::-1])
