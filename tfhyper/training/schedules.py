"""Learning-rate schedules."""

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

    The default is that of Zagoruyko and Komodakis (2016): 0.2 at 40, 60 and
    80 % of the epochs.

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
    for drop in check_instance("drops", drops, list | tuple, "a sequence of fractions"):
        check_number("drops", drop)
    if list(drops) != sorted(drops) or not all(0 < drop < 1 for drop in drops):
        raise ValueError(
            f"`drops` must increase and lie between 0 and 1. Received: drops={drops}"
        )
    # Drops fall between epochs. PiecewiseConstantDecay keeps the old rate on
    # the boundary step itself, hence the -1.
    # The first epoch keeps the first rate, however short the training.
    steps = [max(1, round(drop * epochs)) * steps_per_epoch - 1 for drop in drops]
    rates = [learning_rate * factor**i for i in range(len(drops) + 1)]
    return keras.optimizers.schedules.PiecewiseConstantDecay(steps, rates)
