"""The kinds of corruption, with the numbers of their severities."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from tfhyper.checks import check_choice, check_function
from tfhyper.shift import blur, digital, noise, weather

Group: TypeAlias = Literal["noise", "blur", "weather", "digital"]
SEVERITIES = (1, 2, 3, 4, 5)
# Up to this shorter side, in pixels, an image is small.
SMALL_SIDE = 64


@dataclasses.dataclass(frozen=True)
class Corruption:
    """A kind of corruption of images, at five severities.

    Small images, whose shorter side has up to 64 pixels, have the numbers of
    CIFAR-10-C, larger ones those of ImageNet-C.

    Args:
        group: "noise", "blur", "weather" or "digital".
        apply: function of an image, float64 (height, width, channels) in [0, 1], of
            the number or numbers of a severity, and of a `numpy.random.Generator`,
            which returns the image made worse; numbers beyond [0, 1] are cut.
        small: the numbers of each of the five severities, for small images.
        large: those for larger images.

    Raises:
        ValueError: for another group, or other than five severities.
        TypeError: if `apply` is no function.

    Example:

    >>> kind = tfhyper.shift.CORRUPTIONS["contrast"]
    >>> kind.group, kind.small
    ('digital', (0.75, 0.5, 0.4, 0.3, 0.15))
    >>> dark = tfhyper.shift.Corruption(
    ...     "digital", lambda x, c, rng: c * x, (0.9, 0.8, 0.7, 0.6, 0.5), (0.5,) * 5
    ... )
    >>> dark(np.ones((8, 8, 1)), 5, np.random.default_rng(0)).max()
    np.float64(0.5)

    Reference:
        Hendrycks, Dietterich: Benchmarking neural network robustness to common
        corruptions and perturbations, ICLR 2019; the numbers are those of its
        published code.
    """

    group: Group
    apply: Callable[[np.ndarray, Any, np.random.Generator], np.ndarray]
    small: tuple[Any, ...]
    large: tuple[Any, ...]

    def __post_init__(self) -> None:
        check_choice("group", self.group, get_args(Group))
        check_function("apply", self.apply)
        for name in ("small", "large"):
            numbers = getattr(self, name)
            if not isinstance(numbers, tuple) or len(numbers) != len(SEVERITIES):
                raise ValueError(
                    f"`{name}` must be a tuple with the number, or numbers, of each of "
                    f"five severities. Received: {name}={numbers!r}"
                )

    def __call__(
        self, image: np.ndarray, severity: int, rng: np.random.Generator
    ) -> np.ndarray:
        """Returns an image (height, width, channels) in [0, 1], made worse."""
        is_small = min(image.shape[:2]) <= SMALL_SIDE
        numbers = (self.small if is_small else self.large)[severity - 1]
        return np.clip(self.apply(image, numbers, rng), 0.0, 1.0)


# Name of a kind -> the kind: the 15 of the benchmark, in its order.
CORRUPTIONS: dict[str, Corruption] = {
    "gaussian_noise": Corruption(
        "noise",
        noise.gaussian_noise,
        (0.04, 0.06, 0.08, 0.09, 0.10),
        (0.08, 0.12, 0.18, 0.26, 0.38),
    ),
    "shot_noise": Corruption(
        "noise", noise.shot_noise, (500, 250, 100, 75, 50), (60, 25, 12, 5, 3)
    ),
    "impulse_noise": Corruption(
        "noise",
        noise.impulse_noise,
        (0.01, 0.02, 0.03, 0.05, 0.07),
        (0.03, 0.06, 0.09, 0.17, 0.27),
    ),
    "defocus_blur": Corruption(
        "blur",
        blur.defocus_blur,
        ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)),
        ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5)),
    ),
    "glass_blur": Corruption(
        "blur",
        blur.glass_blur,
        ((0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)),
        ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2)),
    ),
    "motion_blur": Corruption(
        "blur",
        blur.motion_blur,
        ((6, 1), (6, 1.5), (6, 2), (8, 2), (9, 2.5)),
        ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)),
    ),
    "zoom_blur": Corruption(
        "blur",
        blur.zoom_blur,
        ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
        ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
    ),
    "snow": Corruption(
        "weather",
        weather.snow,
        (
            (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
            (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
            (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
            (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
            (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
        ),
        (
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
            (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
            (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
    ),
    "frost": Corruption(
        "weather",
        weather.frost,
        ((1, 0.2), (1, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)),
        ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75)),
    ),
    "fog": Corruption(
        "weather",
        weather.fog,
        ((0.2, 3), (0.5, 3), (0.75, 2.5), (1, 2), (1.5, 1.75)),
        ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4)),
    ),
    "brightness": Corruption(
        "digital",
        digital.brightness,
        (0.05, 0.1, 0.15, 0.2, 0.3),
        (0.1, 0.2, 0.3, 0.4, 0.5),
    ),
    "contrast": Corruption(
        "digital",
        digital.contrast,
        (0.75, 0.5, 0.4, 0.3, 0.15),
        (0.4, 0.3, 0.2, 0.1, 0.05),
    ),
    "elastic_transform": Corruption(
        "digital",
        digital.elastic_transform,
        (
            (0.0, 0.0, 0.08),
            (0.05, 0.2, 0.07),
            (0.08, 0.06, 0.06),
            (0.1, 0.04, 0.05),
            (0.1, 0.03, 0.03),
        ),
        (
            (2, 0.7, 0.1),
            (2, 0.08, 0.2),
            (0.05, 0.01, 0.02),
            (0.07, 0.01, 0.02),
            (0.12, 0.01, 0.02),
        ),
    ),
    "pixelate": Corruption(
        "digital",
        digital.pixelate,
        (0.95, 0.9, 0.85, 0.75, 0.65),
        (0.6, 0.5, 0.4, 0.3, 0.25),
    ),
    "jpeg_compression": Corruption(
        "digital", digital.jpeg_compression, (80, 65, 58, 50, 40), (25, 18, 15, 10, 7)
    ),
}
