"""2D convolution whose kernel has rank-one factors by member."""

import keras

from tfhyper.layers.operations import ConvOperation
from tfhyper.layers.rank_one_kernel import RankOneKernel


@keras.saving.register_keras_serializable("tfhyper")
class RankOneConv2D(RankOneKernel, ConvOperation, keras.layers.Conv2D):
    """2D convolution of K members: one kernel, times a rank-one matrix of the member.

    A drop-in for `keras.layers.Conv2D`. Member k has the kernel W * r_k s_k^T by the
    entry, with W in common: r_k has an entry for each input channel, s_k one for each
    filter, the same at all places of the kernel. Weights grow by K (channels +
    filters), and by twice of that where the factors have a density. Each member is a
    plain convolution; draw number i of a `tfhyper.PosteriorPredictor` is member i
    modulo K, in all layers together. By `posterior` the factors are

        point       weights: BatchEnsemble (Wen et al., 2020)
        gaussian    N(m, softplus(rho)^2) each, with the prior N(1, prior_scale^2)
        cauchy      Cauchy(m, softplus(rho)) each, with the prior Cauchy(1, prior_scale)

    the last two rank-1 BNNs (Dusenberry et al., 2020), of which a draw is a member and
    a sample of its factors, clipped to -10 ... 10 as in the authors' code. Their
    posterior is the mixture of the members. The layer adds kl_weight times

        1 / K sum_k KL(q_k || p)

    to the loss, in nats and summed over its factors, which is at least the mixture's KL
    divergence. (The authors' code has the sum over the members in place of the mean.)
    Beside a loss that is the mean over the batch, `kl_weight=1 / N`, N the number of
    training examples, makes their sum a bound of the negative evidence of one
    example; `None` is that, found in `fit` from its second epoch on
    (`tfhyper.layers.VariationalLayer`). W and biases are plain variables.

    In training a batch is used by `batch`:

        whole       a step trains one member, the next step the next one, with one
                    draw of its factors. BatchNorm normalises by the batch, that is
                    by the moments of the member, as in its own draw when a predictor
                    estimates them. Costs two products of the size of the kernel.
        divided     each member has an equal part of the batch, the first part the
                    first member, by (x r * W) s in one convolution, as in the paper.
                    Costs two products of the size of inputs and outputs, and keeps
                    both results: about twice the memory of activations. Each
                    example has its own draw of factors. BatchNorm has one mean and
                    variance for all members together, as in the authors' networks:
                    predict with the same, `batch_norm="moving_average"`.

    Either way a step has the convolutions of a plain one. That all members see all
    examples in each step, as the authors' code has it, costs K times as much: repeat
    the batch, `tfhyper.data.repeat_batches`, with `batch="divided"`.

    Members go by the count of the layer's calls: with `batch="whole"` call each layer
    once a step. Outside of training a call has one member after another. A frozen layer
    (`trainable=False`) still draws, and has no KL term.

    Args:
        *args, **kwargs: the arguments of `keras.layers.Conv2D`. `kernel_initializer`
            (default `"he_normal"`), `kernel_constraint` and `kernel_regularizer` are
            those of W.
        posterior: `"point"`, `"gaussian"` or `"cauchy"`.
        members: int > 0, K.
        batch: `"whole"` or `"divided"`.
        member_bias: bool, whether each member has a bias of its own, as in the papers.
        factor_spread: float >= 0, standard deviation, around 1, of the factors (or
            their locations) at the start: what makes the members differ. `None`: 0.5,
            as in the authors' code of BatchEnsemble for CIFAR, or `prior_scale` where
            the factors have a density.
        random_signs: bool, whether each factor is multiplied by -1 with probability 1/2
            at the start, as in the authors' code of rank-1 BNNs for CIFAR.
        prior_scale: float > 0, of the priors; 0.1 in the authors' code. Not for
            `"point"`, as are the next two.
        kl_weight: float >= 0, factor of the KL divergence in the loss; `None`: 1 / N,
            as above.
        initial_scale: float > 0, softplus(rho) at the start.
        seed: int in 0 <= seed < 2**31, or `None` for a fresh one.

    Call arguments:
        inputs: tensor, (batch, height, width, channels), or channels first.
        training: bool: whether `batch` says how; draws are counted apart.

    Output shape:
        (batch, new_height, new_width, filters), or channels first.

    Raises:
        ValueError: for an unknown posterior or use of the batch, numbers out of range;
            with `batch="divided"` for a first batch of training that `members` does not
            divide, if its size is known when the step is built. (Later ones, the last
            of an epoch, are divided into parts that differ by one example at most.)

    Example:

    >>> model = keras.Sequential([
    ...     keras.Input((28, 28, 1)),
    ...     tfhyper.layers.RankOneConv2D(16, 5, members=4, activation="relu"),
    ...     keras.layers.GlobalAveragePooling2D(),
    ...     tfhyper.layers.RankOneDense(10, members=4),
    ... ])
    >>> tfhyper.PosteriorPredictor(model).num_draws
    4

    Reference:
        Wen, Tran, Ba: BatchEnsemble, ICLR 2020, section 3. Dusenberry et al.: Efficient
        and scalable Bayesian neural nets with rank-1 factors, ICML 2020.
    """

    point_class = keras.layers.Conv2D
