"""Arguments of stock Keras layers: the rules that Keras leaves to chance."""

from typing import Any

import keras

from tfhyper.checks import check_bool, check_positive_integer

# What arguments whose names end so are made into.
_IDENTIFIERS = {
    "activation": keras.activations.get,
    "constraint": keras.constraints.get,
    "initializer": keras.initializers.get,
    "regularizer": keras.regularizers.get,
}
_SIZES = {"depth_multiplier", "filters", "groups"}
# A drawn kernel has neither.
_OF_FIXED_KERNELS = ("lora_alpha", "lora_rank", "quantization_config")


def check_stock_arguments(options: dict[str, Any]) -> None:
    """Raises ValueError for arguments that Keras takes as they are, or does not name.

    Args:
        options: what a stock layer is given, by name.
    """
    for name in _SIZES & set(options):
        check_positive_integer(name, options[name])
    if not isinstance(options.get("padding", ""), str):
        raise ValueError(
            "`padding` must be a name that Keras knows. "
            f"Received: padding={options['padding']!r}"
        )
    if "use_bias" in options:
        check_bool("use_bias", options["use_bias"])
    for name in _OF_FIXED_KERNELS:
        if options.get(name) is not None:
            raise ValueError(
                f"`{name}` must be None: the kernel is drawn, and LoRA and "
                f"quantization need a fixed one. Received: {name}={options[name]!r}"
            )
    for name, value in options.items():
        if name.rpartition("_")[2] in _IDENTIFIERS:
            known_to_keras(name, value)


def known_to_keras(name: str, value: Any) -> Any:
    """Returns what Keras makes of an activation, initializer, regularizer, constraint.

    Args:
        name: the argument's name, which ends in one of these words.
        value: what was given.

    Raises:
        ValueError: if Keras does not know it.
    """
    try:
        return _IDENTIFIERS[name.rpartition("_")[2]](value)
    except Exception as error:
        raise ValueError(
            f"`{name}` must be known to Keras: {error}. Received: {name}={value!r}"
        ) from error
