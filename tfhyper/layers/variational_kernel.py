"""Common part of the posteriors over a kernel that have a density."""

from typing import Any

from tfhyper.checks import check_number
from tfhyper.layers.draw_counter import DrawCounter
from tfhyper.layers.roles import POSTERIOR, role_of
from tfhyper.layers.seeds import StatelessSeed, check_seed, derive_seed
from tfhyper.layers.stochastic import StochasticKernel
from tfhyper.layers.variational import KLTerm, VariationalLayer, check_kl_weight
from tfhyper.tensor_types import Tensor


class VariationalKernel(DrawCounter, VariationalLayer, StochasticKernel):
    """A kernel with a posterior q(w) whose KL divergence is in the loss.

    Holds what such posteriors have in common: the weight of the KL term, the counts
    of draws and examples, and the seeds of the layer's noise. A subclass says

        build_posterior     which variables q has
        kl_divergence       KL(q || p), or an estimate by one draw
        call                how a call draws
        sample_noise, point_weights, ...    as every `StochasticLayer`

    Args:
        *args: those of the stock layer.
        initial_scale: float > 0, how wide q is at the start, in the subclass' units.
        kl_weight: float >= 0, factor of the KL divergence in the loss; `None`: 1 / N,
            found in training, as `VariationalLayer` says.
        seed: int in 0 <= seed < 2**31, or `None` for a fresh one.
        **kwargs: those of the stock layer. `kernel_initializer` is `"he_normal"` by
            default; a `kernel_regularizer` is refused: that is the prior's place.

    Raises:
        ValueError, TypeError: for an argument out of its range, or a regularizer.

    Example:

    >>> class ScaledKernel(VariationalKernel):
    ...     def build_posterior(self, shape: tuple[int, ...], **options: Any) -> Any:
    ...         self.direction = self.add_weight(shape, name="direction", **options)
    >>> issubclass(ScaledKernel, tfhyper.layers.VariationalLayer)
    True
    """

    # Names of the independent streams of noise of a call, in the order of their seeds,
    # which saved networks go on with: append, do not sort.
    streams: tuple[str, ...] = ()

    def __init__(
        self,
        *args: Any,
        initial_scale: float,
        kl_weight: float | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        kwargs.setdefault(f"{self.kernel_argument}_initializer", "he_normal")
        super().__init__(*args, **kwargs)
        self.initial_scale = check_number("initial_scale", initial_scale, positive=True)
        self.kl_weight = check_kl_weight(kl_weight)
        self.seed = check_seed(seed)
        self._stream_seeds = {
            name: derive_seed(self.seed, i) for i, name in enumerate(self.streams)
        }
        self.check_no_regularizer()

    def build(self, input_shape: Any) -> None:
        """Makes the counts, then what the stock layer makes, then the posterior."""
        self.build_counter()
        self.build_kl_factor()
        super().build(input_shape)
        self.built = True

    def build_kernel(self, shape: tuple[int, ...], **options: Any) -> Any:
        """Makes the posterior, one of whose variables has the KL term in the loss."""
        options = {**options, "regularizer": KLTerm(self)}
        mean = self.build_posterior(tuple(shape), **options)
        if not any(role_of(variable) == POSTERIOR for variable in self.variables):
            raise NotImplementedError(
                f"{type(self).__name__}.build_posterior must give the posterior's "
                "variables their role: `give_role`. Else weight decay acts on them."
            )
        return mean

    def build_posterior(self, shape: tuple[int, ...], **options: Any) -> Any:
        """Makes the variables of q, and says `give_role("posterior", ...)` of them.

        Args:
            shape: of the kernel.
            **options: arguments of `add_weight` for exactly one of the variables, one
                of the kernel's shape: initializer and constraint are those of the
                kernel, and its regularizer is the layer's term of the loss.

        Returns:
            The variable that is the kernel's mean, or `None`.
        """
        raise NotImplementedError

    def stream_seed(
        self, stream: str, count: Tensor, by_example: bool = False
    ) -> StatelessSeed:
        """Returns the seed of one of `streams` for `keras.random`.

        Args:
            stream: its name.
            count: int32 scalar, the number of the draw.
            by_example: bool, whether each example has its part of the noise.
        """
        return StatelessSeed(self._stream_seeds[stream], count, by_example)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the layer."""
        return {
            **super().get_config(),
            "initial_scale": self.initial_scale,
            "kl_weight": self.kl_weight,
            "seed": self.seed,
        }
