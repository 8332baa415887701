"""The signatures of a SavedModel, and the variables that they use."""

import os
import tempfile

import tensorflow as tf

from tfhyper.export import metadata as described
from tfhyper.export.functions import Members
from tfhyper.export.sampling import FreshDraws
from tfhyper.export.signatures import each, summary


class Exported:
    """A predictor, traced: what `save` writes.

    Arguments and errors are those of `tfhyper.export.saved_model`.
    """

    def __init__(
        self,
        predictor,
        form,
        preprocessing,
        class_names,
        metadata,
        sampling,
        sampling_inputs,
    ):
        self._kind = predictor.outputs
        self._preprocessing = preprocessing
        self._members = Members(predictor, form)
        self._specs = dict(self._members.specs)
        network = self._members.networks[0].point.network
        if preprocessing is not None:
            preprocessing.check_shape([tuple(x.shape) for x in network.inputs])
            self._specs = {
                name: tf.TensorSpec(spec.shape, tf.uint8)
                for name, spec in self._specs.items()
            }
        self._class_names = described.check_class_names(
            class_names, self._kind, network.outputs[0].shape[-1]
        )
        metadata = described.check_metadata(metadata)
        self._description = described.describe(
            predictor, self._members, preprocessing, self._class_names, metadata
        )
        self._fresh = None
        if sampling:
            self._fresh = FreshDraws(self._members, predictor, sampling_inputs)

    def save(self, folder: str) -> None:
        """Writes the SavedModel into an empty folder."""
        signatures = self._signatures()
        module = tf.Module()
        # What was traced, each once: not the model, and nothing that it used for
        # training.
        variables = {
            id(variable): variable
            for function in signatures.values()
            for variable in function.variables
        }
        module.weights = list(variables.values())
        with tempfile.TemporaryDirectory() as temporary:
            path = os.path.join(temporary, described.ASSET)
            with open(path, "w", encoding="utf-8") as file:
                file.write(self._description)
            module.description = tf.saved_model.Asset(path)
            tf.saved_model.save(module, folder, signatures=signatures)

    def _signatures(self):
        """Returns name -> function, with its graph."""
        # Called by several signatures, but in the file once.
        members = tf.function(self._members, autograph=False)

        def serve(**named):
            return summary(members(self._inputs(named)), self._kind)

        def show_members(**named):
            return each(members(self._inputs(named)), self._kind)

        def sample(seed, **named):
            found = self._fresh(self._inputs(named), seed)
            return {**summary(found, self._kind), **each(found, self._kind)}

        def describe():
            return {
                "metadata": tf.constant(self._description),
                "class_names": tf.constant(self._class_names or [], tf.string),
            }

        seed = {"seed": tf.TensorSpec((), tf.int32)}
        functions = {
            tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY: (serve, self._specs),
            "members": (show_members, self._specs),
            "metadata": (describe, {}),
        }
        if self._fresh is not None:
            functions["sample"] = sample, {**self._specs, **seed}
        return {
            name: tf.function(function, autograph=False).get_concrete_function(**specs)
            for name, (function, specs) in functions.items()
        }

    def _inputs(self, named):
        """Returns the networks' inputs from those of a signature."""
        # Sessions, as servers run them, check no shapes, and a convolution takes twice
        # the channels for two groups.
        named = {
            name: tf.ensure_shape(x, self._specs[name].shape)
            for name, x in named.items()
        }
        if self._preprocessing is not None:
            named = {name: self._preprocessing(x) for name, x in named.items()}
        return self._members.pack(named)
