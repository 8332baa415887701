"""Other packages' networks and their training steps, for the benchmarks of times.

The functions named `..._step` return the step, a function without arguments, and the
bytes of the weights that generate others.
"""

from absl import flags
from workload import EXAMPLES, batch

FLAGS = flags.FLAGS


def wide_resnet(x, conv, norm_relu, add, head):
    """The skeleton of `tfhyper.models.wide_resnet` for any framework's layers."""
    channels = 16
    x = conv(x, 3, channels, 3, 1)
    for stage, strides in enumerate((1, 2, 2)):
        for block in range((FLAGS.depth - 4) // 6):
            width = 16 * 2**stage * FLAGS.width
            s = strides if block == 0 else 1
            active = norm_relu(x, channels)
            shortcut = x
            if s != 1 or channels != width:
                shortcut = conv(active, channels, width, 1, s)
            y = conv(active, channels, width, 3, s)
            y = conv(norm_relu(y, width), width, width, 3, 1)
            x, channels = add(shortcut, y), width
    return head(norm_relu(x, channels), channels)


def tf_keras_network(conv_class=None, dense_class=None):
    """Returns a network of tf_keras, plain or of tfp.layers."""
    import tensorflow_probability as tfp
    import tf_keras

    k = tf_keras.layers
    options = {"use_bias": False, "kernel_initializer": "he_normal"}
    dense = k.Dense(10)
    conv_layer = k.Conv2D
    if conv_class is not None:

        def divergence(q, p, _):
            return tfp.distributions.kl_divergence(q, p) / EXAMPLES

        options = {"bias_posterior_fn": None, "kernel_divergence_fn": divergence}
        conv_layer = getattr(tfp.layers, conv_class)
        dense = getattr(tfp.layers, dense_class)(10, kernel_divergence_fn=divergence)

    def conv(x, _, filters, size, strides):
        return conv_layer(filters, size, strides, padding="same", **options)(x)

    def norm_relu(x, _):
        return k.ReLU()(k.BatchNormalization(momentum=0.9, epsilon=1e-5)(x))

    inputs = tf_keras.Input((FLAGS.size, FLAGS.size, 3))
    outputs = wide_resnet(
        inputs,
        conv,
        norm_relu,
        lambda a, b: k.Add()([a, b]),
        lambda x, _: dense(k.GlobalAveragePooling2D()(x)),
    )
    return tf_keras.Model(inputs, outputs)


def tf_keras_step(conv_class=None, dense_class=None):
    """A network of tf_keras, plain or of tfp.layers."""
    import tf_keras

    model = tf_keras_network(conv_class, dense_class)
    x, y = batch()
    model.compile(
        tf_keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
        tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    return lambda: model.train_on_batch(x, y), 0


def torch_network(kind=None):
    """Returns a network of torch, plain or of bayesian-torch."""
    import torch
    from torch import nn

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.parts = nn.ModuleList()
            self.walk(self.make)

        def make(self, kind, *arguments):
            if kind == "conv":
                inputs, outputs, size, strides = arguments
                part = nn.Conv2d(inputs, outputs, size, strides, size // 2, bias=False)
            elif kind == "norm":
                part = nn.BatchNorm2d(*arguments)
            else:
                part = nn.Linear(*arguments, 10)
            self.parts.append(part)

        def walk(self, layer, x=None):
            def run(kind, x, *arguments):
                found = layer(kind, *arguments)
                return x if found is None else found(x)

            def head(x, channels):
                x = x if x is None else x.mean((2, 3))
                return run("dense", x, channels)

            def norm_relu(x, channels):
                x = run("norm", x, channels)
                return x if x is None else torch.relu(x)

            def add(a, b):
                return None if a is None else a + b

            def conv(x, *arguments):
                return run("conv", x, *arguments)

            return wide_resnet(x, conv, norm_relu, add, head)

        def forward(self, x):
            parts = iter(self.parts)
            return self.walk(lambda *_: next(parts), x)

    model = Network()
    if kind is not None:
        from bayesian_torch.models.dnn_to_bnn import dnn_to_bnn

        prior = {
            "prior_mu": 0.0,
            "prior_sigma": 1.0,
            "posterior_mu_init": 0.0,
            "posterior_rho_init": -3.0,
            "type": kind,
            "moped_enable": False,
            "moped_delta": 0.5,
        }
        dnn_to_bnn(model, prior)
    return model


def torch_images(x):
    """Returns images (batch, height, width, channels) as torch takes them fastest."""
    import torch

    x = torch.from_numpy(x.transpose(0, 3, 1, 2).copy())
    return x.contiguous(memory_format=torch.channels_last)


def torch_step(kind=None):
    """A network of torch, plain or of bayesian-torch."""
    import torch

    model = torch_network(kind)
    if kind is not None:
        from bayesian_torch.models.dnn_to_bnn import get_kl_loss
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, nesterov=True)
    x, y = batch()
    x, y = torch_images(x), torch.from_numpy(y)

    def step():
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), y)
        if kind is not None:
            loss = loss + get_kl_loss(model) / EXAMPLES
        loss.backward()
        optimizer.step()

    return step, 0


def hypnettorch_network(generated):
    """Returns a network of hypnettorch and what its weights come from.

    That is itself, or a network that generates them. One code, 32 hidden units and no
    biases, as `kits.hyper(mean_kernel=False)`, but that the stem and BatchNorm's
    affine parameters are generated too.
    """
    from hypnettorch.hnets import HMLP
    from hypnettorch.mnets import WRN

    network = WRN(
        in_shape=(FLAGS.size, FLAGS.size, 3),
        n=(FLAGS.depth - 4) // 6,
        k=FLAGS.width,
        num_feature_maps=(16, 16, 32, 64),
        use_bias=False,
        no_weights=generated,
        verbose=False,
    )
    weights = network
    if generated:
        weights = HMLP(
            network.param_shapes,
            uncond_in_size=32,
            cond_in_size=0,
            num_cond_embs=0,
            layers=(32,),
            use_bias=False,
            verbose=False,
        )
    return network, weights


def hypnettorch_step(generated):
    """A network of hypnettorch, with its own weights or generated ones."""
    import torch

    x, y = batch()
    network, weights = hypnettorch_network(generated)
    optimizer = torch.optim.SGD(weights.parameters(), 0.1, momentum=0.9, nesterov=True)
    x = torch.from_numpy(x.reshape(len(x), -1))
    y = torch.from_numpy(y)

    def step():
        optimizer.zero_grad()
        drawn = weights.forward(uncond_input=torch.rand(1, 32)) if generated else None
        outputs = network.forward(x, weights=drawn)
        torch.nn.functional.cross_entropy(outputs, y).backward()
        optimizer.step()

    sizes = [w.numel() * w.element_size() for w in weights.parameters()]
    return step, sum(sizes) if generated else 0
