"""2D convolution with a Gaussian posterior over its kernel."""

import keras

from tfhyper.layers.gaussian_kernel import GaussianKernel
from tfhyper.layers.operations import ConvOperation


@keras.saving.register_keras_serializable("tfhyper")
class BayesConv2D(GaussianKernel, ConvOperation, keras.layers.Conv2D):
    """2D convolution whose kernel has a Gaussian posterior: Bayes by Backprop.

    A drop-in for `keras.layers.Conv2D`. Each weight has a posterior of its own,

        q(w) = N(w; mean, softplus(rho)^2)

    and the layer adds kl_weight * KL(q || p) to the loss, in nats and summed
    over its weights, with the prior p. Beside a loss that is the mean over the
    batch, `kl_weight=1 / N`, N the number of training examples, makes their sum the
    negative evidence lower bound of one example. With `kl_weight=None`, the default,
    the first epoch of `fit` counts the examples and has no KL term, and the epochs
    after it have this one: `tfhyper.layers.VariationalLayer` says how. In training
    one call draws by `estimator`:

        reparameterization          one kernel for the batch
        local_reparameterization    each output of each example, from the mean
                                    x * mean and the variance x^2 * sigma^2
        flipout                     one kernel for the batch, whose deviation
                                    from the mean changes signs by example

    The last two cost about two convolutions, and give gradients of less
    variance. Outside of training each call draws one kernel for the batch. A
    frozen layer (`trainable=False`) still draws, and has no KL term.

    Args:
        *args, **kwargs: the arguments of `keras.layers.Conv2D`: filters,
            kernel_size, strides, padding, dilation_rate, groups, data_format,
            activation, use_bias, initializers, constraints, regularizers.
            `kernel_initializer` (default `"he_normal"`) and `kernel_constraint`
            are those of the mean. A `kernel_regularizer` is refused: that is
            the prior's place.
        estimator: `"reparameterization"`, `"local_reparameterization"` or
            `"flipout"`.
        prior_scale: float > 0, of the prior N(0, prior_scale^2).
        prior: a `tfp.distributions` distribution in its place, such as
            `tfhyper.layers.scale_mixture()`, whose event shape ends the kernel's
            shape and whose batch shape broadcasts to the rest, with a density
            above 0 for every real weight. KL(q || prior) is
            exact where TFP has a formula, else estimated with one draw. Or
            `"log_uniform"`, p(w) ~ 1 / |w| on every backend: variational dropout,
            see `tfhyper.kits.variational_dropout`.
        trainable_prior_scale: bool, whether the scale of the Gaussian prior is
            learned with the posterior (empirical Bayes).
        prior_mean: `"zero"`, or `"weight"`: a fixed weight of the layer, as
            `tfhyper.convert` sets it for MOPED.
        kl_weight: float >= 0, factor of the KL divergence in the loss; `None`: 1 / N,
            found in training, as above.
        initial_scale: float > 0, the posterior's standard deviation at the start
            of training, times sqrt(2 / fan_in), that of He's kernel.
        rho_initializer: initializer of rho in place of `initial_scale`, of the kernel
            and of a Gaussian bias. The code of the Bayesian CNN (Shridhar et al.,
            2019) has `RandomNormal(-5, 0.1)`, and `RandomNormal(stddev=0.1)` for the
            mean. `None`: one scale for all weights.
        bias_posterior: `"point"`, a plain variable, or `"gaussian"`, as the
            kernel.
        pruned: bool, whether the kernel has a mask, as `tfhyper.pruning.prune`
            sets it: a fixed weight of the kernel's shape, ones at the start. A
            weight where it is 0 is 0 in every call and draw, adds nothing to the
            KL divergence and is not trained. Not for a `prior` of several weights
            together.
        seed: int in 0 <= seed < 2**31, or `None` for a fresh one.

    Call arguments:
        inputs: tensor, (batch, height, width, channels), or channels first.
        training: bool: whether to use the estimator; draws are counted apart.

    Output shape:
        (batch, new_height, new_width, filters), or channels first.

    Raises:
        ValueError: for an unknown estimator, numbers out of range, a
            regularizer of the kernel, `pruned` with a prior that has an event
            shape, or (when it is built) a prior of another shape.
        TypeError: for a prior that cannot be saved.
        ImportError: for a `prior` on a backend without TensorFlow Probability.

    Example:

    >>> model = keras.Sequential([
    ...     keras.Input((28, 28, 1)),
    ...     tfhyper.layers.BayesConv2D(16, 5, activation="relu"),
    ...     keras.layers.GlobalAveragePooling2D(),
    ...     tfhyper.layers.BayesDense(10),
    ... ])
    >>> model.output_shape
    (None, 10)

    Reference:
        Blundell et al.: Weight uncertainty in neural networks, ICML 2015.
        Kingma, Salimans, Welling: Variational dropout and the local
        reparameterization trick, NeurIPS 2015. Wen et al.: Flipout, ICLR 2018.
    """

    point_class = keras.layers.Conv2D
