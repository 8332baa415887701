"""The signatures of a SavedModel, and the variables that they use."""

import functools
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike
from tensorflow.saved_model.experimental import TrackableResource
from tensorflow.types.experimental import ConcreteFunction

from tfhyper.export import metadata as described
from tfhyper.export.arguments import Form
from tfhyper.export.functions import EnsembleFunction, Said
from tfhyper.export.preprocessing import Preprocessing
from tfhyper.export.resources import (
    captured_resources,
    check_operations,
    operations_of,
)
from tfhyper.export.sampling import FreshDraws
from tfhyper.export.signatures import summary
from tfhyper.posterior.base_predictor import BasePredictor
from tfhyper.posterior.tasks.rejection import FOREIGN
from tfhyper.tensor_types import Structure


class Exported:
    """A predictor, traced: what `save` writes.

    Arguments and errors are those of `tfhyper.export.saved_model`.

    Attributes:
        specs: name -> `tf.TensorSpec` of each input of the file.
        class_names: list of str, or `None`.
        task: the predictor's `Task`.
        rejection: the predictor's `Rejection`, or `None`.
        conformal: the predictor's `ConformalRule`, or `None`.
        description: all that is to be known of it, as JSON.
    """

    def __init__(
        self,
        predictor: BasePredictor,
        form: Form | None,
        preprocessing: Preprocessing | None,
        class_names: Sequence[str] | None,
        metadata: Mapping[str, Any] | None,
        sampling: bool,
        sampling_inputs: ArrayLike | None,
    ):
        self.task, self.rejection = predictor.task, predictor.rejection
        self.conformal = predictor.conformal
        if self.conformal is not None:
            self.task.check_exports(self.conformal)
        self._preprocessing = preprocessing
        self._said = EnsembleFunction(predictor, form)
        self.specs = dict(self._said.specs)
        network = self._said.networks[0].point.network
        if preprocessing is not None:
            preprocessing.check_shape([tuple(x.shape) for x in network.inputs])
            self.specs = {
                name: tf.TensorSpec(spec.shape, tf.uint8)
                for name, spec in self.specs.items()
            }
        self.class_names = described.check_class_names(
            class_names, self.task, network.outputs[0].shape[-1]
        )
        metadata = described.check_metadata(metadata)
        self.description = described.describe(
            predictor, self._said, preprocessing, self.class_names, metadata
        )
        self._fresh = None
        if sampling:
            self._fresh = FreshDraws(self._said, predictor, sampling_inputs)

    def check(self) -> None:
        """Raises ValueError for a model that no SavedModel can hold."""
        check_operations(self.signatures.values())
        self._tables(self.signatures.values())

    def save(self, folder: str) -> None:
        """Writes the SavedModel into an empty folder."""
        self._save(folder, self.signatures)

    def save_function(self, folder: str) -> None:
        """Writes a SavedModel with one signature, all of `function`, for converters."""
        name = tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY
        self._save(folder, {name: self.function})

    @functools.cached_property
    def function(self) -> ConcreteFunction:
        """The predictions and their members as one concrete function."""

        def predict(**named: tf.Tensor) -> dict[str, tf.Tensor]:
            said = self._said(self._inputs(named))
            return {**self._summary(said), **self.task.member_outputs(said.members)}

        def trace() -> ConcreteFunction:
            function = tf.function(predict, autograph=False)
            return function.get_concrete_function(**self.specs)

        found = trace()
        library = found.graph.as_graph_def().library.function
        if not any("_XlaMustCompile" in function.attr for function in library):
            return found
        # Keras has XLA compile grouped convolutions, as calls that converters leave
        # where they are: make their operations a part of the graph.
        before = tf.config.functions_run_eagerly()
        tf.config.run_functions_eagerly(True)
        try:
            return trace()
        finally:
            tf.config.run_functions_eagerly(before)

    def operations(self) -> set[str]:
        """Returns the types of the operations of `function`."""
        return operations_of(self.function)

    def pack(self, named: dict[str, np.ndarray]) -> Structure:
        """Returns what the predictor takes of arrays that the file takes, by name."""
        if self._preprocessing is not None:
            named = {k: self._preprocessing(x).numpy() for k, x in named.items()}
        return self._said.pack(named)

    def _save(self, folder: str, signatures: dict[str, ConcreteFunction]) -> None:
        module = tf.Module()
        # What was traced, each once: not the model, and nothing that it used for
        # training.
        variables = {
            id(variable): variable
            for function in signatures.values()
            for variable in function.variables
        }
        module.weights = list(variables.values())
        module.tables = self._tables(signatures.values())
        with tempfile.TemporaryDirectory() as temporary:
            path = os.path.join(temporary, described.ASSET)
            with open(path, "w", encoding="utf-8") as file:
                file.write(self.description)
            module.description = tf.saved_model.Asset(path)
            tf.saved_model.save(module, folder, signatures=signatures)

    def _tables(self, functions: Iterable[ConcreteFunction]) -> list[TrackableResource]:
        """Returns what look-up tables and the like the functions read."""
        networks = [network.point.network for network in self._said.networks]
        return captured_resources(functions, networks)

    @functools.cached_property
    def signatures(self) -> dict[str, ConcreteFunction]:
        """Name -> function, with its graph."""
        # Called by several signatures, but in the file once.
        said = tf.function(self._said, autograph=False)

        def serve(**named: tf.Tensor) -> dict[str, tf.Tensor]:
            return self._summary(said(self._inputs(named)))

        def show_members(**named: tf.Tensor) -> dict[str, tf.Tensor]:
            return self.task.member_outputs(said(self._inputs(named)).members)

        def describe() -> dict[str, tf.Tensor]:
            return {
                "metadata": tf.constant(self.description),
                "class_names": tf.constant(self.class_names or [], tf.string),
            }

        seed = {"seed": tf.TensorSpec((), tf.int32)}
        functions: dict[str, tuple[Callable, dict[str, tf.TensorSpec]]] = {
            tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY: (serve, self.specs),
            "members": (show_members, self.specs),
            "metadata": (describe, {}),
        }
        if (fresh := self._fresh) is not None:

            def sample(seed: tf.Tensor, **named: tf.Tensor) -> dict[str, tf.Tensor]:
                found = fresh(self._inputs(named), seed)
                # A conformal rule and a scorer are of the predictor's own draws.
                rule = self.rejection
                by_score = rule is not None and rule.score == FOREIGN
                outputs = summary(found, self.task, None if by_score else rule, None)
                return {**outputs, **self.task.member_outputs(found)}

            functions["sample"] = sample, {**self.specs, **seed}
        return {
            name: tf.function(function, autograph=False).get_concrete_function(**specs)
            for name, (function, specs) in functions.items()
        }

    def _summary(self, said: Said) -> dict[str, tf.Tensor]:
        return summary(
            said.members, self.task, self.rejection, self.conformal, said.foreign
        )

    def _inputs(self, named: dict[str, tf.Tensor]) -> Structure:
        """Returns the networks' inputs from those of a signature."""
        # Sessions, as servers run them, check no shapes, and a convolution takes twice
        # the channels for two groups.
        named = {
            name: tf.ensure_shape(x, self.specs[name].shape)
            for name, x in named.items()
        }
        if self._preprocessing is not None:
            named = {name: self._preprocessing(x) for name, x in named.items()}
        return self._said.pack(named)
