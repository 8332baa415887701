"""Optimizers with the weight decay of the papers."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from tfhyper import keras_private
from tfhyper.checks import (
    check_bool,
    check_instance,
    check_learning_rate,
    check_number,
    check_text,
)
from tfhyper.layers.roles import GENERATOR, POSTERIOR, ROLES, role_of
from tfhyper.tensor_types import Tensor

# What stood in `no_decay` for a role, when variables were told by their names.
_OLD_NAMES = {
    POSTERIOR: (
        "kernel_mean kernel_rho bias_mean bias_rho prior_rho g_location g_log_scale "
        "flow_hidden flow_output multiplier_"
    ).split(),
    GENERATOR: ["generator_hidden", "generator_output", "generator_embeddings"],
}
# Those that were there from the first.
_FIRST_NAMES = {
    POSTERIOR: {"kernel_mean", "kernel_rho"},
    GENERATOR: {"generator_hidden", "generator_output"},
}


class CoupledDecay(keras.optimizers.Optimizer):
    """What an optimizer whose weight decay is part of the gradient adds to Keras'.

    Attributes:
        coupled_decay: factor of the weights that is added to their gradient.
        no_decay: strings; variables with one of them in their paths are left out.
        no_decay_roles: roles of variables that are left out.
        role_decays: factors of the variables of some roles, in place of it.
    """

    coupled_decay: float
    no_decay: tuple[str, ...]
    no_decay_roles: tuple[str, ...]
    role_decays: dict[str, float]

    def _set_decay(
        self,
        decay: float,
        no_decay: Sequence[str],
        no_decay_roles: Sequence[str],
        role_decays: Mapping[str, float] | None,
    ) -> None:
        """Sets what decays, or raises ValueError or TypeError for bad arguments."""
        self.coupled_decay = check_number("coupled_decay", decay)
        self.no_decay = _check_strings("no_decay", no_decay)
        self.no_decay_roles = _check_strings("no_decay_roles", no_decay_roles)
        if role_decays is None:
            role_decays = {}
        rule = "a dict of decays by role, or None"
        check_instance("role_decays", role_decays, Mapping, rule)
        self.role_decays = {
            role: check_number("role_decays", factor)
            for role, factor in role_decays.items()
        }
        for name, given in (
            ("no_decay_roles", self.no_decay_roles),
            ("role_decays", self.role_decays),
        ):
            if not set(given) <= set(ROLES):
                raise ValueError(
                    f"`{name}` must be some of {ROLES}. Received: {name}={given!r}"
                )
        if both := sorted(set(self.no_decay_roles) & set(self.role_decays)):
            raise ValueError(
                "`role_decays` must not hold a role of `no_decay_roles`. "
                f"Received: {both[0]!r} in both"
            )

    def update_step(
        self, gradient: Tensor, variable: Tensor, learning_rate: Tensor
    ) -> None:
        """Updates one variable, with the penalty's gradient added to its own."""
        # Here, not in `apply`: gradients of several replicas are summed by now.
        if factor := self._decay_of(variable):
            decay = ops.cast(factor, gradient.dtype)
            gradient = gradient + decay * ops.cast(variable, gradient.dtype)
        super().update_step(gradient, variable, learning_rate)

    def _decay_of(self, variable: Tensor) -> float:
        if not self.coupled_decay and not self.role_decays:
            return 0.0
        # `variable` is the backend's own; role and path are those of the Keras one.
        variable = keras_private.trained_variable(self, variable)
        role = role_of(variable)
        named = any(part in variable.path for part in self.no_decay)
        if named or role in self.no_decay_roles:
            return 0.0
        return self.role_decays.get(str(role), self.coupled_decay)

    def get_config(self) -> dict[str, Any]:
        """Returns what the optimizer can be made from."""
        return {
            **super().get_config(),
            "coupled_decay": self.coupled_decay,
            "no_decay": list(self.no_decay),
            "no_decay_roles": list(self.no_decay_roles),
            "role_decays": dict(self.role_decays),
        }


@keras.saving.register_keras_serializable("tfhyper")
class CoupledDecaySGD(CoupledDecay, keras.optimizers.SGD):
    """SGD whose weight decay is part of the gradient.

        g = dL/dw + coupled_decay w        and then Keras' SGD with g,

    the gradient of the penalty coupled_decay / 2 |w|^2, as in the papers and in
    Torch. The `weight_decay` of Keras' optimizers is another thing: it passes
    by the momentum, so that with momentum 0.9 it decays ten times less for the
    same number. As a penalty it would also be added to the reported loss; here
    the loss stays the negative log-likelihood.

    Args:
        learning_rate: float, or a `keras.optimizers.schedules` schedule.
        momentum: float in [0, 1].
        nesterov: bool.
        coupled_decay: float >= 0.
        no_decay: strings; a variable with one of them in its path is not
            decayed. It is text: a layer's name is in its variables' paths, too.
        no_decay_roles: of `"posterior"` and `"generator"`; a variable that its layer
            has given one of these roles (`tfhyper.layers.role_of`) is not decayed.
        role_decays: by such a role, the factor float >= 0 of its variables in place of
            `coupled_decay`.
        **kwargs: other arguments of `keras.optimizers.SGD`.

    Raises:
        ValueError: for a negative decay, or an unknown role.

    Example:

    >>> optimizer = tfhyper.training.CoupledDecaySGD(
    ...     0.1, momentum=0.9, nesterov=True, coupled_decay=5e-4)
    >>> optimizer.coupled_decay
    0.0005
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 0.1,
        momentum: float = 0.9,
        nesterov: bool = True,
        coupled_decay: float = 0.0,
        no_decay: Sequence[str] = (),
        no_decay_roles: Sequence[str] = (),
        role_decays: Mapping[str, float] | None = None,
        name: str = "coupled_decay_sgd",
        **kwargs: Any,
    ):
        check_learning_rate(learning_rate)
        if check_number("momentum", momentum) > 1:
            raise ValueError(
                f"`momentum` must be in [0, 1]. Received: momentum={momentum!r}"
            )
        check_bool("nesterov", nesterov)
        check_text("name", name)
        super().__init__(learning_rate, momentum, nesterov, name=name, **kwargs)
        self._set_decay(coupled_decay, no_decay, no_decay_roles, role_decays)

    @classmethod
    def from_config(cls, config: dict[str, Any], **kwargs: Any) -> "CoupledDecaySGD":
        """Returns the optimizer of a config; in those of old files names were roles."""
        if "no_decay_roles" not in config:
            names, roles = list(config.get("no_decay", ())), []
            for role in ROLES:
                if _FIRST_NAMES[role] <= set(names):
                    roles.append(role)
                    names = [name for name in names if name not in _OLD_NAMES[role]]
            config = {**config, "no_decay": names, "no_decay_roles": roles}
        return super().from_config(config, **kwargs)


@keras.saving.register_keras_serializable("tfhyper")
class CoupledDecayAdam(CoupledDecay, keras.optimizers.Adam):
    """Adam whose weight decay is part of the gradient.

        g = dL/dw + coupled_decay w        and then Keras' Adam with g,

    the gradient of the penalty coupled_decay / 2 |w|^2, as with the `weight_decay` of
    Torch's Adam. Adam divides it by the size of the gradients, so that weights that
    the loss does not need shrink by about the learning rate in each step. The
    `weight_decay` of Keras' Adam and AdamW is another thing: it passes by Adam's
    moments.

    Args:
        learning_rate: float, or a `keras.optimizers.schedules` schedule.
        coupled_decay: float >= 0.
        no_decay: strings; a variable with one of them in its path is not
            decayed. It is text: a layer's name is in its variables' paths, too.
        no_decay_roles: of `"posterior"` and `"generator"`; a variable that its layer
            has given one of these roles (`tfhyper.layers.role_of`) is not decayed.
        role_decays: by such a role, the factor float >= 0 of its variables in place of
            `coupled_decay`.
        **kwargs: other arguments of `keras.optimizers.Adam`.

    Raises:
        ValueError: for a negative decay, or an unknown role.

    Example:

    >>> optimizer = tfhyper.training.CoupledDecayAdam(1e-3, coupled_decay=5e-4)
    >>> optimizer.coupled_decay
    0.0005
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 1e-3,
        coupled_decay: float = 0.0,
        no_decay: Sequence[str] = (),
        no_decay_roles: Sequence[str] = (),
        role_decays: Mapping[str, float] | None = None,
        name: str = "coupled_decay_adam",
        **kwargs: Any,
    ):
        check_learning_rate(learning_rate)
        check_text("name", name)
        super().__init__(learning_rate, name=name, **kwargs)
        self._set_decay(coupled_decay, no_decay, no_decay_roles, role_decays)


def _check_strings(name: str, values: Sequence[str]) -> tuple[str, ...]:
    check_instance(name, values, list | tuple, "a list or tuple of strings")
    # A string is a collection of strings, too: of its letters.
    if isinstance(values, str) or not all(isinstance(x, str) for x in values):
        raise TypeError(
            f"`{name}` must be a list or tuple of strings. Received: {name}={values!r}"
        )
    return tuple(values)
