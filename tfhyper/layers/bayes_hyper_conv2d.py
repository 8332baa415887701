"""2D convolution of Bayesian hypernetworks."""

import keras

from tfhyper.layers.flow_kernel import FlowKernel
from tfhyper.layers.operations import ConvOperation


@keras.saving.register_keras_serializable("tfhyper")
class BayesHyperConv2D(FlowKernel, ConvOperation, keras.layers.Conv2D):
    """2D convolution whose filters have random scales: a Bayesian hypernetwork.

    A drop-in for `keras.layers.Conv2D`. Each filter is weight-normalised,

        kernel = g v / |v|        with g = location + exp(log_scale) f(z)

    where z ~ N(0, I) has one component for each filter, the norm |v| is that of
    one filter, and f is a RealNVP flow, near the identity at the start. Because f
    is invertible the density q(g) is known, and the layer adds

        kl_weight (log q(g) - log p(g)),    p(g) = N(prior_mean, prior_scale^2)

    to the loss, in nats, for the g of its last call in training: KL(q || p) by
    one draw. `kl_weight` is 1 / N, N the number of training examples, beside a loss
    that is the mean over the batch: found in `fit`, from its second epoch on, unless
    it is given (`tfhyper.layers.VariationalLayer`). One kernel serves the whole
    batch. A frozen layer (`trainable=False`) still draws, and has no KL term.

    As in the paper the directions v are point estimates. Biases are, too. Unlike
    there, each layer has a flow of its own, not one flow over the scales of all
    layers: q has no correlation between layers. BatchNorm straight after the
    layer undoes g: then only the prior shapes q(g).

    Args:
        *args, **kwargs: the arguments of `keras.layers.Conv2D`: filters,
            kernel_size, strides, padding, dilation_rate, groups, data_format,
            activation, use_bias, initializers, constraints, regularizers.
            `kernel_initializer` (default `"he_normal"`) gives v and, by its
            norms, the location of g; `kernel_constraint` is that of v. A
            `kernel_regularizer` is refused: that is the prior's place.
        num_couplings: int >= 0, the couplings of the flow; from 2 on every g
            depends on others. With 0, or one filter, q(g) is a Gaussian.
        hidden_units: int > 0, hidden units of each coupling.
        prior_mean: float >= 0, of the prior of each g.
        prior_scale: float > 0, of the prior of each g.
        kl_weight: float >= 0, factor of the KL divergence in the loss; `None`: 1 / N,
            found in training, as above.
        initial_scale: float > 0, the deviation of g at the start of training,
            times sqrt(2), the norm of a filter of He's kernel.
        seed: int in 0 <= seed < 2**31, or `None` for a fresh one.

    Call arguments:
        inputs: tensor, (batch, height, width, channels), or channels first.
        training: bool: draws in training and outside are counted apart.

    Output shape:
        (batch, new_height, new_width, filters), or channels first.

    Raises:
        ValueError: for numbers out of range, or a regularizer of the kernel.

    Example:

    >>> model = keras.Sequential([
    ...     keras.Input((28, 28, 1)),
    ...     tfhyper.layers.BayesHyperConv2D(16, 5, activation="relu"),
    ...     keras.layers.GlobalAveragePooling2D(),
    ...     tfhyper.layers.BayesHyperDense(10),
    ... ])
    >>> model.output_shape
    (None, 10)

    Reference:
        Krueger et al.: Bayesian hypernetworks, arXiv 1710.04759, 2017.
        Salimans, Kingma: Weight normalization, NeurIPS 2016.
    """

    point_class = keras.layers.Conv2D
