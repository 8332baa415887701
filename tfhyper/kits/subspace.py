"""Networks on a line, a curve or a simplex of weights (Wortsman et al., 2021)."""

import functools
from typing import Any

import keras

from tfhyper import layers
from tfhyper.kits import kit as kits
from tfhyper.kits.kit import (
    Apply,
    LayerKit,
    Maker,
    Replace,
    drawn_by,
    through,
    with_code,
)
from tfhyper.layers.chosen_variables import VARIABLE_ROLES
from tfhyper.layers.seeds import check_seed
from tfhyper.layers.subspaces import KIND, SPREAD, SubspaceKind
from tfhyper.tensor_types import Tensor

LAYERS = (
    keras.layers.BatchNormalization,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3D,
    keras.layers.Dense,
    keras.layers.DepthwiseConv2D,
)
ROLES = tuple(VARIABLE_ROLES)


def subspace(
    kind: SubspaceKind = KIND,
    corners: int | None = None,
    *,
    cosine_weight: float = 1.0,
    spread: float = SPREAD,
    seed: int | None = None,
) -> LayerKit:
    """Returns the kit of networks whose weights are points of a subspace.

    One training learns a whole subspace of networks: in each step all weights of the
    network, kernels, biases, the factors and shifts of norms, are those of one random
    point of it,

        line      w = (1 - a) w_1 + a w_2                          a ~ U(0, 1)
        curve     w = (1 - a)^2 w_1 + 2 a (1 - a) w_2 + a^2 w_3    a ~ U(0, 1)
        simplex   w = sum_i c_i w_i          c uniform: c_i >= 0, sum_i c_i = 1

    the same for all layers, and the loss gains

        cosine_weight * cos^2(w_j, w_k)

    of the whole networks w_j and w_k at two ends, another pair of a simplex at each
    step, which keeps the ends apart (`tfhyper.layers.SubspacePoint`). A step costs the
    one of a plain network, and a sum over each weight's corners. Each corner starts
    from random weights of its own.

    Of the trained network `model(x)`, `model.predict` and `model.evaluate` have the
    midpoint's weights, with moving averages of BatchNorm that are of all points.
    A `tfhyper.PosteriorPredictor` averages over points, each with moments of its own;
    with `deterministic=True` it is the midpoint alone, one network for the price of
    one, and `materialize(0)` returns that as a plain Keras model (see the example).

    `tfhyper.convert` keeps a trained network at the midpoint, up to rounding, with
    corners around it at a distance of about `spread`. What has no role of
    `tfhyper.layers.RandomVariables` is the same at all points.

    Args:
        kind: `"line"`, `"curve"` or `"simplex"`.
        corners: int > 1, how many networks span the subspace: 2 for a line, 3 for a
            curve, which is what `None` stands for; 3 of a simplex unless given.
        cosine_weight: float >= 0, beta in the paper.
        spread: float >= 0, of a converted network: see
            `tfhyper.layers.SubspacePosterior`.
        seed: int in 0 <= seed < 2**31 from which all seeds are derived, or `None` for a
            fresh one.

    Raises:
        ValueError: for an unknown kind, corners that do not go with it, or a weight or
            spread that is negative.

    Example:

    >>> kit = tfhyper.kits.subspace("line")
    >>> model = tfhyper.models.wide_resnet(10, 1, input_shape=(8, 8, 3), kit=kit)
    >>> images = np.random.default_rng(0).normal(size=(4, 8, 8, 3))
    >>> midpoint = tfhyper.PosteriorPredictor(model, deterministic=True)
    >>> _ = midpoint.estimate_batch_norm(images, verbose=0)
    >>> plain = midpoint.materialize(0)
    >>> plain.count_params()
    78330

    Reference:
        Wortsman, Horton, Guestrin, Farhadi, Rastegari: Learning neural network
        subspaces, ICML 2021.
    """
    seed = check_seed(seed)
    # Bad arguments are refused here, at the door, not when a network is built.
    layers.SubspacePoint(kind, corners, cosine_weight)
    posterior = functools.partial(layers.SubspacePosterior, kind, corners, spread)
    posterior()
    draw = drawn_by(posterior, ROLES, seed)

    def open_network() -> dict[str, Maker | Replace]:
        points: list[Tensor] = []

        def point_of(x: Tensor) -> Tensor:
            if not points:
                point = layers.SubspacePoint(
                    kind, corners, cosine_weight, seed=seed, name="subspace_point"
                )
                points.append(point(x))
            return points[0]

        def replace(layer: keras.Layer, path: str) -> Apply:
            norm = isinstance(layer, keras.layers.BatchNormalization)
            if norm and not (layer.scale or layer.center):
                return layer
            return with_code(draw(layer, path), point_of)

        makers: dict[str, Any] = {
            "conv": kits.conv2d,
            "stem": kits.conv2d,
            "conv_transpose": kits.conv2d_transpose,
            "dense": kits.dense,
            "norm": kits.batch_norm,
        }
        made = {name: through(replace, maker) for name, maker in makers.items()}
        return {**made, "replace": replace, "wrap": replace}

    return LayerKit(name="subspace", replaces=LAYERS, open=open_network, wraps=ROLES)
