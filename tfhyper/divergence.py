"""The error of a training whose numbers are none any more."""


class DivergedError(ValueError):
    """A loss was NaN or infinite; `what` says which, and at which step.

    Example:

    >>> model.optimizer.learning_rate = float("nan")
    >>> try:
    ...     trainer = tfhyper.training.Trainer(model)
    ...     trainer.fit(dataset, epochs=2, steps_per_epoch=4, verbose=0)
    ... except tfhyper.training.DivergedError as error:
    ...     print(error.what)
    the loss is nan at step 2 of epoch 1
    """

    def __init__(self, what: str):
        self.what = what
        super().__init__(f"Training diverged: {what}. A lower learning rate may help.")
