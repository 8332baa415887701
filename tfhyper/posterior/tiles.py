"""Large pictures in tiles: in bounded memory, and with the numbers of the whole."""

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tfhyper.checks import check_instance, check_integer, check_numbers
from tfhyper.posterior.averager import Averager
from tfhyper.posterior.tasks.distribution import DistributionPrediction
from tfhyper.posterior.tasks.regression import RegressionPrediction

_MOMENTS = ("mean", "variance", "aleatoric", "epistemic")


def predict_tiles(
    predictor: Averager, picture: ArrayLike, *, overlap: int, tile: int = 128
) -> RegressionPrediction | DistributionPrediction:
    """Returns what a predictor says of a large picture, which it sees in tiles.

    For a network from pictures to pictures of any size, such as those of
    `tfhyper.models.SUPER_RESOLVERS`. All draws predict one tile, of `tile` x `tile`
    pixels, then the next; of each what lies within `overlap` pixels of an edge that is
    none of the picture's is left out. Memory grows with the tile, and with the four
    numbers of each pixel that are returned.

    With an overlap as large as a pixel's reach, how far away the input pixels may be
    that it depends on, the result is that of the whole picture up to rounding: 5 for
    `espcn`, 2 blocks + 4 for `edsr`. That holds for draws that are the same function
    at each place: not for dropout of single values, whose masks are others in each
    tile.

    Args:
        predictor: a `tfhyper.PosteriorPredictor` or `tfhyper.DeepEnsemble` of
            `outputs="mean"`, `"mean_and_variance"` or `"distribution"`, whose model
            takes any height and width.
        picture: finite numbers of shape (height, width, channels).
        overlap: int >= 0, in pixels of `picture`.
        tile: int > 2 overlap, side of a tile in pixels of `picture`.

    Returns:
        What `predict` gives of a batch of this one picture, without members, and in
        float32: `mean`, `variance`, `aleatoric` and `epistemic` of the shape (1, scale
        height, scale width, targets).

    Raises:
        ValueError: for arguments out of range, or a network whose output is not a
            whole number of times as high and as wide as its input.
        TypeError: for another predictor, or what is predicted are no numbers.

    Example:

    >>> model = tfhyper.models.espcn(2, kit=tfhyper.kits.hyper(seed=0))
    >>> predictor = tfhyper.PosteriorPredictor(model, num_draws=2, outputs="mean")
    >>> picture = np.random.default_rng(0).uniform(size=(20, 30, 1))
    >>> tiled = tfhyper.predict_tiles(predictor, picture, overlap=5, tile=16)
    >>> whole = predictor.predict(picture[None])
    >>> bool(np.allclose(tiled.mean, whole.mean, atol=1e-5))
    True
    """
    rule = "a predictor, such as `tfhyper.PosteriorPredictor`"
    check_instance("predictor", predictor, Averager, rule)
    array = check_numbers("picture", picture)
    if array.ndim != 3 or array.size == 0:
        raise ValueError(
            "`picture` must have the axes (height, width, channels), none of them "
            f"empty. Received: picture.shape={array.shape}"
        )
    overlap = check_integer("overlap", overlap, 0)
    tile = check_integer("tile", tile, 2 * overlap + 1)
    array = array.astype(np.float32)
    height, width = array.shape[:2]
    found: dict[str, np.ndarray] = {}
    last: Any = None
    for rows, keep_rows in _places(height, tile, overlap):
        for columns, keep_columns in _places(width, tile, overlap):
            # One at a time: a draw may be another for the second example.
            part = array[None, rows, columns]
            last = predictor.predict(part, keep_members=False, verbose=0)
            kinds = (RegressionPrediction, DistributionPrediction)
            rule = "a predictor of numbers"
            check_instance("predictor", last, kinds, rule)
            scale = _scale(part.shape, last.mean.shape)
            inside = (
                slice(None),
                _scaled(keep_rows, scale, rows.start),
                _scaled(keep_columns, scale, columns.start),
            )
            target = (
                slice(None),
                *(_scaled(s, scale) for s in (keep_rows, keep_columns)),
            )
            for name in _MOMENTS:
                values = getattr(last, name)
                if name not in found:
                    size = (1, height * scale, width * scale, *values.shape[3:])
                    found[name] = np.empty(size, np.float32)
                found[name][target] = values[inside]
    return dataclasses.replace(last, **found)


def _places(size: int, tile: int, overlap: int) -> list[tuple[slice, slice]]:
    """Returns what each tile sees along an axis, and the part of it that is kept.

    All tiles have one size, that of the picture where it is smaller: a network is built
    once for each size.
    """
    if size <= tile:
        return [(slice(0, size), slice(0, size))]
    found, done = [], 0
    while done < size:
        # The first has no edge to leave out, and the last ends where the picture does.
        start = min(max(done - overlap, 0), size - tile)
        stop = start + tile
        end = size if stop == size else stop - overlap
        found.append((slice(start, stop), slice(done, end)))
        done = end
    return found


def _scaled(part: slice, scale: int, start: int = 0) -> slice:
    return slice((part.start - start) * scale, (part.stop - start) * scale)


def _scale(small: tuple[int, ...], large: tuple[int, ...]) -> int:
    """Returns how many times as high and wide an output is."""
    scale = large[1] // small[1] if len(large) == 4 else 0
    if scale < 1 or large[1:3] != (small[1] * scale, small[2] * scale):
        raise ValueError(
            "`predictor` must give pictures, a whole number of times as high and wide "
            f"as the input. Received: outputs of the shape {large[1:]} for {small[1:]}"
        )
    return scale
