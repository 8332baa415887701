"""Learning-rate schedules."""

from collections.abc import Sequence

import keras

from tfhyper.checks import check_instance, check_number, check_positive_integer


def step_schedule(
    learning_rate: float,
    epochs: int,
    steps_per_epoch: int,
    *,
    drops: tuple[float, ...] = (0.4, 0.6, 0.8),
    factor: float = 0.2,
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Returns a rate that is multiplied by `factor` at fractions of training.

    The default is that of Ukai et al. (2019): 0.2 at 40, 60 and 80 % of the epochs.
    Zagoruyko and Komodakis (2016) have 30, 60 and 80 %.

    Args:
        learning_rate: float > 0, the first rate.
        epochs: int > 0.
        steps_per_epoch: int > 0.
        drops: increasing fractions of the epochs, each in (0, 1).
        factor: float > 0.

    Raises:
        ValueError: for an argument out of range.

    Example:

    >>> rate = step_schedule(0.1, epochs=200, steps_per_epoch=391)
    >>> [round(float(rate(epoch * 391)), 4) for epoch in (0, 199)]
    [0.1, 0.0008]
    """
    check_positive_integer("epochs", epochs)
    check_positive_integer("steps_per_epoch", steps_per_epoch)
    check_number("learning_rate", learning_rate, positive=True)
    check_number("factor", factor, positive=True)
    _check_drops(drops)
    rates = tuple(learning_rate * factor**i for i in range(len(drops) + 1))
    return _piecewise(rates, drops, epochs, steps_per_epoch)


def check_rates(rates: Sequence[float], drops: Sequence[float]) -> None:
    """Raises TypeError or ValueError unless rates and drops belong together."""
    for rate in check_instance("rates", rates, list | tuple, "a sequence of rates"):
        check_number("rates", rate, positive=True)
    _check_drops(drops)
    if len(rates) != len(drops) + 1:
        raise ValueError(
            "`rates` must have one entry more than `drops`. "
            f"Received: rates={rates}, drops={drops}"
        )


def _check_drops(drops: Sequence[float]) -> None:
    for drop in check_instance("drops", drops, list | tuple, "a sequence of fractions"):
        check_number("drops", drop)
    if list(drops) != sorted(drops) or not all(0 < drop < 1 for drop in drops):
        raise ValueError(
            f"`drops` must increase and lie between 0 and 1. Received: drops={drops}"
        )


def rates_schedule(
    rates: Sequence[float], drops: Sequence[float], epochs: int, steps_per_epoch: int
) -> keras.optimizers.schedules.LearningRateSchedule | float:
    """Returns rates one after the other, from fractions of training on.

    Args:
        rates: floats > 0, one more than drops.
        drops: increasing fractions of the epochs, each in (0, 1).
        epochs: int > 0.
        steps_per_epoch: int > 0.

    Returns:
        A schedule; of one rate the rate itself.

    Raises:
        ValueError: for epochs or steps out of range.
    """
    check_positive_integer("epochs", epochs)
    check_positive_integer("steps_per_epoch", steps_per_epoch)
    if len(rates) == 1:
        return rates[0]
    return _piecewise(rates, drops, epochs, steps_per_epoch)


def _piecewise(
    rates: Sequence[float], drops: Sequence[float], epochs: int, steps_per_epoch: int
) -> keras.optimizers.schedules.LearningRateSchedule:
    # Drops fall between epochs. PiecewiseConstantDecay keeps the old rate on
    # the boundary step itself, hence the -1.
    # The first epoch keeps the first rate, however short the training.
    steps = [max(1, round(drop * epochs)) * steps_per_epoch - 1 for drop in drops]
    return keras.optimizers.schedules.PiecewiseConstantDecay(steps, list(rates))
