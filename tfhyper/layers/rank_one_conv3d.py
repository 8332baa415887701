"""3D convolution whose kernel has rank-one factors by member."""

import keras

from tfhyper.layers.operations import ConvOperation
from tfhyper.layers.rank_one_kernel import RankOneKernel


@keras.saving.register_keras_serializable("tfhyper")
class RankOneConv3D(RankOneKernel, ConvOperation, keras.layers.Conv3D):
    """3D convolution of K members: one kernel, times a rank-one matrix of the member.

    A drop-in for `keras.layers.Conv3D`, as `tfhyper.layers.RankOneConv2D` is for
    `keras.layers.Conv2D`; the posterior, the use of batches and the arguments are
    those.

    Args:
        *args, **kwargs: the arguments of `keras.layers.Conv3D`.
        posterior, members, batch, member_bias, factor_spread, random_signs,
            prior_scale, kl_weight, initial_scale, seed: see
            `tfhyper.layers.RankOneConv2D`.

    Call arguments:
        inputs: tensor, (batch, depth, height, width, channels), or channels first.
        training: bool: whether `batch` says how; draws are counted apart.

    Output shape:
        (batch, new_depth, new_height, new_width, filters), or channels first.

    Raises:
        ValueError: as `tfhyper.layers.RankOneConv2D`.

    Example:

    >>> layer = tfhyper.layers.RankOneConv3D(8, 3, members=3)
    >>> layer(keras.random.normal((2, 5, 5, 5, 4))).shape
    (2, 3, 3, 3, 8)

    Reference:
        Wen, Tran, Ba: BatchEnsemble, ICLR 2020. Dusenberry et al.: Efficient and
        scalable Bayesian neural nets with rank-1 factors, ICML 2020.
    """

    point_class = keras.layers.Conv3D
