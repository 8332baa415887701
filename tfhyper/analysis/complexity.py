"""What a network and its draws cost, in multiply-adds."""

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import keras

from tfhyper import keras_graph
from tfhyper.analysis._blocks import stage_of
from tfhyper.analysis._figures import BLUE, VERMILION, figure_for, tidy
from tfhyper.checks import check_instance, check_positive_integer
from tfhyper.layers.stochastic import StochasticKernel
from tfhyper.summary import Summarized, Summary
from tfhyper.tensor_types import Structure

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

_CONV = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D)
_TRANSPOSED = (
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
)
_DEPTHWISE = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)
_SEPARABLE = (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D)


@dataclasses.dataclass(frozen=True)
class LayerComplexity:
    """Multiply-adds of one call of a layer.

    Attributes:
        name: of the layer.
        per_image: int, of its operation, for each image.
        per_batch: int, of drawing its kernel, once for each batch.

    Example:
        >>> from tfhyper import analysis
        >>> analysis.LayerComplexity("logits", per_image=640, per_batch=0)
        LayerComplexity(name='logits', per_image=640, per_batch=0)
    """

    name: str
    per_image: int
    per_batch: int


@dataclasses.dataclass(frozen=True, repr=False)
class Complexity(Summarized):
    """Multiply-adds of a network and of drawing its kernels, shown as a table.

    Attributes:
        layers: tuple of `LayerComplexity`, in the order of the graph.
        batch_size: images of a batch.
        not_counted: names of layers of which something is not counted.

    Example:
        >>> import keras
        >>> from tfhyper import analysis
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> analysis.complexity(model).per_image
        12
    """

    layers: tuple[LayerComplexity, ...]
    batch_size: int
    not_counted: tuple[str, ...] = ()

    @property
    def per_image(self) -> int:
        """Multiply-adds of the network for each image."""
        return sum(layer.per_image for layer in self.layers)

    @property
    def per_batch(self) -> int:
        """Multiply-adds of drawing all kernels, once for each batch."""
        return sum(layer.per_batch for layer in self.layers)

    @property
    def overhead(self) -> float:
        """What drawing the kernels adds to a batch: 0.002 for 0.2 %."""
        return self.per_batch / (self.batch_size * self.per_image)

    def to_summary(self) -> Summary:
        """Returns what is shown: a row for each layer, and one for all."""
        total = LayerComplexity("all", self.per_image, self.per_batch)
        rows = [
            (row.name, f"{row.per_image:,}", f"{row.per_batch:,}")
            for row in (*self.layers, total)
        ]
        notes = []
        if self.per_image:
            added = f"{self.overhead:.2%} to batches of {self.batch_size}"
            notes.append(f"draws add {added}")
        if self.not_counted:
            notes.append(f"not counted: {', '.join(self.not_counted)}")
        head = ("multiply-adds", "per image", "kernel draw, per batch")
        return Summary("", head, rows, notes)


def complexity(model: keras.Model, batch_size: int = 128) -> Complexity:
    """Counts the multiply-adds of a network, and of drawing its kernels.

    Of a network, those of convolutions (grouped, depthwise, separable and transposed
    ones too) and dense layers. With F kernel positions,

        convolution                 output positions F in / groups out    per image
        transposed convolution      input positions F in out
        dense                       positions in out
        generator (Hyper*)          code_units hidden_units               per batch
                                    + hidden_units kernel weights
        Gaussian kernel (Bayes*)    kernel weights

    Biases, norms, activations, pooling and sums are left out, and what padding saves.
    A layer that is called twice has two rows. A kernel is drawn once for a batch: in
    training and in a direct call of the model; a draw of `PosteriorPredictor` makes
    it once for all batches. In training, `"flipout"` and `"local_reparameterization"`
    also run a Bayes* layer's operation twice, which is not in the count.

    The paper (section 5.3) writes `0.85 x 10^3` operations for an image through
    WRN-28-4 and `0.18 x 10^3` for its generators of 32 units: these are millions. The
    counts are 0.846 and 0.187 x 10^9.

    Args:
        model: a functional or built Sequential model whose inputs have fixed sizes.
        batch_size: positive integer, images of a batch.

    Returns:
        A `Complexity`. Its `not_counted` names layers with matrices of other kinds
        (recurrent layers, attention), which have no row, and layers whose kernels
        are drawn in other ways, without the cost of a draw.

    Raises:
        ValueError: if `batch_size` is not a positive integer, the size of an input is
            not known, or there is nothing to count.
        TypeError: if the model's graph is not known.

    Reference:
        Ukai et al., "Bayesian estimation and model averaging of convolutional neural
        networks by hypernetwork", Nonlinear Theory and Its Applications 10(1), 2019,
        section 5.3.

    Example:
        >>> from tfhyper import analysis, kits, models
        >>> kit = kits.hyper(mean_kernel=False, code_units=16, hidden_units=16)
        >>> found = analysis.complexity(models.wide_resnet(10, 1, kit=kit))
        >>> found.per_image, found.per_batch
        (12501632, 1222656)
    """
    batch_size = check_positive_integer("batch_size", batch_size)
    rows: list[LayerComplexity] = []
    not_counted: dict[str, None] = {}

    def visit(operation: keras.Operation, *args: Any, **kwargs: Any) -> Structure:
        # The specification of a call: calling would tie the layer into a new graph.
        outputs = operation.compute_output_spec(*args, **kwargs)
        if isinstance(operation, keras.Layer):
            per_image = _per_image(operation, args[0], outputs)
            per_batch = _per_batch(operation)
            if per_image is not None:
                rows.append(LayerComplexity(operation.name, per_image, per_batch or 0))
            if per_batch is None or (per_image is None and _has_matrix(operation)):
                not_counted[operation.name] = None
        return outputs

    keras_graph.rebuild(model, visit)
    if not rows:
        raise ValueError(
            "`model` must have convolutions or dense layers to count. "
            f"Received: model={model.name!r} without any"
        )
    return Complexity(tuple(rows), batch_size, tuple(not_counted))


def complexity_plot(
    found: Complexity,
    title: str | None = None,
    figure: "Figure | SubFigure | None" = None,
) -> "Figure | SubFigure":
    """Draws multiply-adds by stage: of an image, and of drawing the kernels.

    Layers of the name `stage1_block2_conv1` make up `stage1`; a layer outside of the
    blocks has bars of its own.

    Args:
        found: what `complexity` returns.
        title: text above the figure, or `None`.
        figure: a figure, or a part of one, to draw in; `None` for a new one.

    Returns:
        The figure, of one axes: two bars for each stage, in the order of the graph.

    Raises:
        ImportError: if matplotlib is not installed.
        TypeError: if `found` is not a `Complexity`.

    Example:
        >>> from tfhyper import analysis, models
        >>> found = analysis.complexity(models.wide_resnet(10, 1))
        >>> axes = analysis.complexity_plot(found).axes[0]
        >>> [label.get_text() for label in axes.get_xticklabels()]
        ['stem', 'stage1', 'stage2', 'stage3', 'logits']
    """
    check_instance("found", found, Complexity, "what `complexity` returns")
    stages = list(dict.fromkeys(stage_of(layer.name) for layer in found.layers))
    figure = figure_for(figure, (1.6 + 0.75 * len(stages), 3.2), title)
    axes = figure.subplots()
    for side, field, color, label in (
        (-0.2, "per_image", BLUE, "Network, each image"),
        (0.2, "per_batch", VERMILION, "Kernels, each batch"),
    ):
        heights = dict.fromkeys(stages, 0)
        for layer in found.layers:
            heights[stage_of(layer.name)] += getattr(layer, field)
        places = [place + side for place in range(len(stages))]
        axes.bar(places, list(heights.values()), 0.4, color=color, label=label)
    axes.set_xticks(range(len(stages)), stages, rotation=30, ha="right")
    axes.set(ylabel="Multiply-adds")
    axes.legend(
        loc="lower center",
        bbox_to_anchor=(0.5, 1.05),
        ncols=2,
        frameon=False,
        fontsize=8,
    )
    tidy(axes)
    return figure


def _per_image(
    layer: keras.Layer, inputs: keras.KerasTensor, outputs: keras.KerasTensor
) -> int | None:
    """Returns the multiply-adds of a layer's operation; `None` if not known."""
    kinds = (*_CONV, *_TRANSPOSED, *_DEPTHWISE, *_SEPARABLE, keras.layers.Dense)
    if not isinstance(layer, kinds):
        return None
    for shape in (inputs.shape, outputs.shape):
        if None in shape[1:]:
            raise ValueError(
                "`model` must have inputs whose sizes are known. Received: layer "
                f"'{layer.name}' with a tensor of shape {tuple(shape)}"
            )
    if isinstance(layer, keras.layers.Dense):
        return math.prod(outputs.shape[1:]) * inputs.shape[-1]
    axis = 1 if layer.data_format == "channels_first" else -1
    channels = inputs.shape[axis]
    positions, inner = (
        math.prod(x.shape[1:]) // x.shape[axis] for x in (outputs, inputs)
    )
    size = math.prod(layer.kernel_size)
    if isinstance(layer, _TRANSPOSED):
        return inner * size * channels * layer.filters
    if isinstance(layer, _DEPTHWISE):
        return positions * size * channels * layer.depth_multiplier
    if isinstance(layer, _SEPARABLE):
        return positions * channels * layer.depth_multiplier * (size + layer.filters)
    return positions * size * channels // layer.groups * layer.filters


def _per_batch(layer: keras.Layer) -> int | None:
    """Returns the multiply-adds of drawing a layer's kernel; `None` if not known."""
    return layer.draw_multiply_adds if isinstance(layer, StochasticKernel) else 0


def _has_matrix(layer: keras.Layer) -> bool:
    is_lookup = isinstance(layer, keras.layers.Embedding)
    return not is_lookup and any(len(x.shape) > 1 for x in layer.weights)
