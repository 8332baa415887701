"""A random point of a subspace of weights, which the layers of a network share."""

from typing import Any

import keras
import numpy as np
from keras import ops

from tfhyper import keras_private
from tfhyper.checks import check_number
from tfhyper.layers.code_layer import CodeLayer
from tfhyper.layers.seeds import StatelessSeed, derive_seed
from tfhyper.layers.subspace_posterior import SubspacePosterior
from tfhyper.layers.subspaces import KIND, SubspaceKind, check_subspace
from tfhyper.tensor_types import Tensor


@keras.saving.register_keras_serializable("tfhyper")
class SubspacePoint(CodeLayer):
    """The coordinates c of a point between the corners of a subspace of networks.

    Called on any tensor of the network (its value is not used), it gives coordinates
    for the whole batch. Hand them to layers with a `tfhyper.layers.SubspacePosterior`
    of the same kind, and all their weights w = sum_i c_i w_i are of one point of

        line      c = (1 - a, a)                          a ~ U(0, 1)
        curve     c = ((1 - a)^2, 2 a (1 - a), a^2)       a ~ U(0, 1)
        simplex   c uniform on the simplex: c_i >= 0, sum_i c_i = 1

    In training a call draws c, and adds to the loss

        cosine_weight * cos^2(w_j, w_k),    cos^2 = (w_j . w_k)^2 / |w_j|^2 |w_k|^2

    where w_j holds corner j of all variables of all these layers, as one vector: those
    of the two ends of a line or curve, and of two corners of a simplex, another pair at
    each call, each as probable. So a step adds one such term if the layer is called
    once a step. Outside of training c is the midpoint, a = 1/2 or c_i = 1 / corners,
    and nothing is added.

    Which layers take the coordinates is read off the graph of a functional model.

    Args:
        kind: `"line"`, `"curve"` or `"simplex"`.
        corners: int > 1: 2 for a line, 3 for a curve, which is what `None` stands for;
            3 of a simplex unless given.
        cosine_weight: float >= 0; 1 in the paper.
        seed: int in 0 <= seed < 2**31, or `None` for a fresh one, which the config
            then holds.
        **kwargs: `keras.layers.Layer` arguments such as `name`.

    Call arguments:
        inputs: any tensor.
        training: bool, whether to draw.

    Output shape:
        `(1, corners)`, float32 whatever the dtype policy.

    Raises:
        ValueError: for an unknown kind, corners that do not go with it, or a negative
            weight; with `cosine_weight` above 0, in a training in which no layer of a
            functional model takes the coordinates.

    Example:

    >>> x = keras.Input((6,))
    >>> point = tfhyper.layers.SubspacePoint("simplex", 3, cosine_weight=1.0)
    >>> c, y = point(x), x
    >>> for units in (8, 4):
    ...     posterior = tfhyper.layers.SubspacePosterior("simplex", 3)
    ...     layer = tfhyper.layers.RandomVariables(
    ...         keras.layers.Dense(units), posterior, where=["kernel", "bias"])
    ...     y = layer(y, code=c)
    >>> model = keras.Model(x, y)
    >>> point.cosines().shape
    (3, 3)

    Reference:
        Wortsman, Horton, Guestrin, Farhadi, Rastegari: Learning neural network
        subspaces, ICML 2021, section 3.
    """

    def __init__(
        self,
        kind: SubspaceKind = KIND,
        corners: int | None = None,
        cosine_weight: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(seed, **kwargs)
        self.subspace = check_subspace(kind, corners)
        self.units = self.subspace.corners
        self.cosine_weight = check_number("cosine_weight", cosine_weight)

    def draw(self, seed: StatelessSeed) -> Tensor:
        """Returns the coordinates of a random point, (1, corners)."""
        return self.subspace.coordinates(seed)

    def next_code(self, training: bool | None) -> Tensor:
        """Returns the next coordinates in training, and the midpoint's outside."""
        if not training:
            return ops.convert_to_tensor(self.subspace.midpoint)
        if self.cosine_weight:
            self.add_loss(self.cosine_weight * self._square_of_a_pair())
        return super().next_code(training)

    def cosines(self) -> Tensor:
        """Returns the cosines of the angles between the corners, (corners, corners).

        Of the vectors of all variables of all layers that take the coordinates.

        Raises:
            ValueError: if no layer of a functional model takes the coordinates.
        """
        products = 0.0
        for posterior in self._posteriors():
            for corners in posterior.corner_variables():
                rows = [ops.cast(ops.reshape(x, (-1,)), "float32") for x in corners]
                matrix = ops.stack(rows)
                products = products + ops.matmul(matrix, ops.transpose(matrix))
        # Of a corner that is all zero there is no angle: it counts as orthogonal.
        sizes = ops.sqrt(ops.maximum(ops.diagonal(products), 1e-30))
        return products / (sizes[:, None] * sizes[None])

    def _square_of_a_pair(self) -> Tensor:
        cosines, pairs = self.cosines(), self.subspace.pairs
        squares = ops.stack([ops.square(cosines[j, k]) for j, k in pairs])
        if len(pairs) == 1:
            return squares[0]
        seed = StatelessSeed(derive_seed(self.seed, 1), self.current_count(True))
        place = ops.floor(keras.random.uniform((), seed=seed) * len(pairs))
        chosen = ops.one_hot(ops.cast(place, "int32"), len(pairs))
        return ops.sum(squares * ops.cast(chosen, squares.dtype))

    def _posteriors(self) -> list[SubspacePosterior]:
        """Returns the posteriors of the layers that take the coordinates."""
        layers = [node.operation for node in keras_private.outbound_nodes(self)]
        found = {id(x): getattr(x, "posterior", None) for x in layers}
        posteriors = [x for x in found.values() if isinstance(x, SubspacePosterior)]
        if not posteriors:
            raise ValueError(
                "`cosine_weight` must be 0 where no layer of a functional model takes "
                "the coordinates: the corners are those of such layers. Received: "
                f"layer '{self.name}' with cosine_weight={self.cosine_weight}"
            )
        return posteriors

    def mean_noise(self) -> np.ndarray:
        """Returns the coordinates of the midpoint, (1, corners)."""
        return self.subspace.midpoint

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "kind": self.subspace.kind,
            "corners": self.subspace.corners,
            "cosine_weight": self.cosine_weight,
        }
