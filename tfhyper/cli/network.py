"""The network that the flags choose, and its arguments."""

import ast
import inspect
import re
from collections.abc import Callable
from typing import Any

import keras
from absl import flags

from tfhyper import models
from tfhyper.cli.choices import FORMER_NETWORKS

FLAGS = flags.FLAGS
SETTINGS = "network depth width dropout network_options"
_SMALL: dict[str, dict[str, Any]] = {"wide_resnet": {"depth": 10, "width": 1}}
_PAIR = r"\w+=(?:\([^()]*\)|[^,()]+)"


def name() -> str:
    """Returns the network of the flags, a key of `tfhyper.models.NETWORKS`."""
    return FORMER_NETWORKS.get(FLAGS.network, FLAGS.network)


def builder() -> Callable[..., keras.Model]:
    """Returns the function that makes the network of the flags."""
    return models.NETWORKS[name()]


def network_options() -> dict[str, Any]:
    """Returns the arguments of the network that the flags give.

    Raises:
        ValueError: for text of another form, an argument that the network does not
            have, or one given twice.
    """
    text = FLAGS.network_options.replace(" ", "")
    if text and not re.fullmatch(f"{_PAIR}(,{_PAIR})*", text):
        raise ValueError(
            "--network_options must be name=value,name=value. "
            f"Received: --network_options={FLAGS.network_options}"
        )
    given = [pair.split("=", 1) for pair in re.findall(_PAIR, text)]
    pairs = [(name, _value(value)) for name, value in given]
    for name in ("depth", "width", "dropout"):
        if FLAGS[name].value is not None:
            pairs.append((name, FLAGS[name].value))
    options = dict(pairs)
    if len(options) < len(pairs):
        raise ValueError(f"Network options must be given once. Received: {pairs}")
    known = set(inspect.signature(builder()).parameters)
    # What the data and --kit say.
    known -= {"num_classes", "input_shape", "kit"}
    if not options.keys() <= known:
        raise ValueError(
            f"Network options of {FLAGS.network} must be among {sorted(known)}. "
            f"Received: {', '.join(sorted(options.keys() - known))}"
        )
    return {**_SMALL.get(FLAGS.network, {}), **options}


def _value(text: str) -> Any:
    """Returns a number, bool or tuple, or else the text itself."""
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text
