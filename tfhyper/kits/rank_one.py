"""One kernel times rank-one factors by member: BatchEnsemble, rank-1 BNNs."""

from typing import Any

from tfhyper import layers
from tfhyper.kits.kit import LayerKit, variational_kit, weight_of_kl
from tfhyper.layers import rank_one_kernel as defaults
from tfhyper.layers.rank_one_factors import FactorPosterior
from tfhyper.layers.seeds import check_seed

LAYERS = (
    layers.RankOneConv1D,
    layers.RankOneConv2D,
    layers.RankOneConv3D,
    layers.RankOneDense,
)


def rank_one(
    posterior: FactorPosterior = defaults.POSTERIOR_OF_FACTORS,
    members: int = defaults.MEMBERS,
    num_examples: int | None = None,
    *,
    batch: defaults.BatchUse = defaults.BATCH,
    member_bias: bool = defaults.MEMBER_BIAS,
    factor_spread: float | None = None,
    random_signs: bool = defaults.RANDOM_SIGNS,
    prior_scale: float = defaults.PRIOR_SCALE,
    initial_scale: float = defaults.INITIAL_SCALE,
    seed: int | None = None,
) -> LayerKit:
    """Returns the kit of convolutions and dense layers with cheap members.

    Every kernel is one for all members, times a rank-one matrix of the member: K
    members for a training that costs about as much as that of one network. With
    `"point"` it is BatchEnsemble (Wen et al., 2020), and `tfhyper.PosteriorPredictor`
    averages over the K members unless `num_draws` says otherwise; with `"gaussian"` or
    `"cauchy"` a rank-1 BNN (Dusenberry et al., 2020), of which draw number i is a
    sample of member i modulo K, and each layer adds its KL divergence / num_examples to
    the loss, which `tfhyper.training.KLSchedule` multiplies. (The authors let it grow
    over the first 200 epochs of 250.)

    BatchNorm's affine parameters are plain variables that all members have in common,
    as in the authors' wide residual networks. With `batch="whole"` a batch of training
    holds one member, so that BatchNorm normalises each by its own moments, as the
    draws of a predictor have them; straight behind a convolution it takes out how
    large s is, and not its signs, so that members differ there by r, and by signs with
    `random_signs=True`. With `"divided"` it normalises by the moments of all members
    together: predict with `batch_norm="moving_average"`, which are the same.
    Transposed and depthwise convolutions are plain.

    `tfhyper.convert` keeps a trained network as that of r = s = 1: all members start
    there, unless a `factor_spread` is given.

    Args:
        posterior: `"point"`, `"gaussian"` or `"cauchy"`, of the factors. This and the
            next are described in `tfhyper.layers.RankOneConv2D`.
        members: int > 0.
        num_examples: int > 0, the number of training examples. Must be given but for
            `"point"`, which has no KL divergence.
        batch: `"whole"` or `"divided"`.
        member_bias: bool.
        factor_spread: float >= 0, or `None`.
        random_signs: bool.
        prior_scale: float > 0.
        initial_scale: float > 0.
        seed: int in 0 <= seed < 2**31 from which the seeds of all layers are
            derived, or `None` for a fresh one.

    Raises:
        ValueError: if `num_examples` is missing or not positive, and as
            `tfhyper.layers.RankOneConv2D`.

    Example:

    >>> kit = tfhyper.kits.rank_one(members=4)
    >>> model = tfhyper.models.lenet5(kit=kit)
    >>> tfhyper.PosteriorPredictor(model).num_draws
    4

    Reference:
        Wen, Tran, Ba: BatchEnsemble, ICLR 2020. Dusenberry et al.: Efficient and
        scalable Bayesian neural nets with rank-1 factors, ICML 2020.
    """
    seed = check_seed(seed)
    options: dict[str, Any] = {
        "posterior": posterior,
        "members": members,
        "batch": batch,
        "member_bias": member_bias,
        "factor_spread": factor_spread,
        "random_signs": random_signs,
        "prior_scale": prior_scale,
        "initial_scale": initial_scale,
    }
    # Bad arguments are refused here, at the door, not when a network is built.
    layers.RankOneConv2D(1, 1, **options)
    if posterior != "point" or num_examples is not None:
        options["kl_weight"] = weight_of_kl("rank_one", num_examples)
    return variational_kit("rank_one", LAYERS, options, seed, regularizer=True)
