"""2D convolution with the posterior of multiplicative normalizing flows."""

import keras

from tfhyper.layers.multiplicative_kernel import MultiplicativeKernel
from tfhyper.layers.operations import ConvOperation


@keras.saving.register_keras_serializable("tfhyper")
class MNFConv2D(MultiplicativeKernel, ConvOperation, keras.layers.Conv2D):
    """2D convolution with a posterior of multiplicative normalizing flows.

    A drop-in for `keras.layers.Conv2D`. Given a random vector z, with an entry
    for each filter, each weight is Gaussian,

        q(W_j | z) = N(W_j; z_j mean_j, sigma_j^2)        filter j

    and z = flow(z_0), z_0 ~ N(mean_0, sigma_0^2), is drawn through a masked
    RealNVP: so the weights of a layer depend on each other, and their posterior
    may have more than one mode. The layer adds kl_weight times a bound of
    KL(q(W) || p(W)) to the loss, in nats, with the prior p(w) = N(0,
    prior_scale^2) and an auxiliary posterior r(z | W) that is learned, too:

        KL(q(W | z) || p(W)) + log q(z) - log r(z | W)

    for one draw of z and W at each step, other than those of the call. `kl_weight` is
    1 / N, N the number of training examples, beside a loss that is the mean over the
    batch: found in `fit`, from its second epoch on, unless it is given
    (`tfhyper.layers.VariationalLayer`). In training one call draws by `estimator`:

        local_reparameterization    z for each example, and each output from the
                                    mean z_j (x * mean_j) and the variance
                                    x^2 * sigma_j^2
        reparameterization          one z and one kernel for the batch

    Outside of training each call draws one z and one kernel for the batch. The
    mean kernel of the posterior has no closed form: a predictor draws. The bias is
    a plain variable. A frozen layer (`trainable=False`) still draws, and has no KL
    term.

    Flows, widths, and scales at the start are those of the authors' code. Unlike
    there, z starts around 1, not around 0, and the bias has no posterior.

    Args:
        *args, **kwargs: the arguments of `keras.layers.Conv2D`.
            `kernel_initializer` (default `"he_normal"`) and `kernel_constraint`
            are those of `mean`. A `kernel_regularizer` is refused: that is the
            prior's place.
        estimator: `"local_reparameterization"` or `"reparameterization"`.
        num_flows: int >= 0, steps of the flow of the posterior, and of r's. With 0
            z is Gaussian.
        flow_width: int > 0, hidden units of each step; of r's twice as many.
        prior_scale: float > 0, of the prior N(0, prior_scale^2).
        kl_weight: float >= 0, factor of the KL divergence in the loss; `None`: 1 / N,
            found in training, as above.
        initial_scale: float > 0, sigma at the start of training, times
            sqrt(2 / fan_in), the deviation of He's kernel.
        multiplier_scale: float > 0, sigma_0 at the start of training.
        seed: int in 0 <= seed < 2**31, or `None` for a fresh one.

    Call arguments:
        inputs: tensor, (batch, height, width, channels), or channels first.
        training: bool: whether to use the estimator; draws are counted apart.

    Output shape:
        (batch, new_height, new_width, filters), or channels first.

    Raises:
        ValueError: for an unknown estimator, numbers out of range, or a
            regularizer of the kernel.

    Example:

    >>> model = keras.Sequential([
    ...     keras.Input((28, 28, 1)),
    ...     tfhyper.layers.MNFConv2D(16, 5, activation="relu"),
    ...     keras.layers.GlobalAveragePooling2D(),
    ...     tfhyper.layers.MNFDense(10),
    ... ])
    >>> model.output_shape
    (None, 10)

    Reference:
        Louizos and Welling: Multiplicative normalizing flows for variational
        Bayesian neural networks, ICML 2017.
    """

    point_class = keras.layers.Conv2D
