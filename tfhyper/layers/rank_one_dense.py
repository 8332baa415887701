"""Dense layer whose kernel has rank-one factors by member."""

from typing import Any

import keras

from tfhyper.checks import check_positive_integer
from tfhyper.layers.operations import DenseOperation
from tfhyper.layers.rank_one_kernel import RankOneKernel


@keras.saving.register_keras_serializable("tfhyper")
class RankOneDense(RankOneKernel, DenseOperation, keras.layers.Dense):
    """Dense layer of K members: one kernel, times a rank-one matrix of the member.

    A drop-in for `keras.layers.Dense`, as `tfhyper.layers.RankOneConv2D` is for
    `keras.layers.Conv2D`; the posterior, the use of batches and the arguments are
    those. Member k has the kernel W * r_k s_k^T by the entry, with an entry of r_k for
    each input and one of s_k for each unit.

    Args:
        *args, **kwargs: the arguments of `keras.layers.Dense`.
        posterior, members, batch, member_bias, factor_spread, random_signs,
            prior_scale, kl_weight, initial_scale, seed: see
            `tfhyper.layers.RankOneConv2D`.

    Call arguments:
        inputs: tensor, (batch, ..., features).
        training: bool: whether `batch` says how; draws are counted apart.

    Output shape:
        (batch, ..., units).

    Raises:
        ValueError: as `tfhyper.layers.RankOneConv2D`.

    Example:

    >>> layer = tfhyper.layers.RankOneDense(10, posterior="gaussian", kl_weight=1 / 500)
    >>> layer(keras.random.normal((2, 64))).shape
    (2, 10)

    Reference:
        Wen, Tran, Ba: BatchEnsemble, ICLR 2020. Dusenberry et al.: Efficient and
        scalable Bayesian neural nets with rank-1 factors, ICML 2020.
    """

    point_class = keras.layers.Dense

    def __init__(self, units: int, *args: Any, **kwargs: Any):
        # Not every version of Keras checks it.
        super().__init__(check_positive_integer("units", units), *args, **kwargs)
