"""MLServer's runtime for what `tfhyper.export.saved_model` writes.

TensorFlow alone: no tfhyper and no Keras. model-settings.json names it.
"""

import asyncio
import json

import counters
import numpy as np
import tensorflow as tf
from batcher import Batcher
from mlserver import MLModel
from mlserver.logging import logger
from mlserver.types import (
    InferenceRequest,
    InferenceResponse,
    MetadataModelResponse,
    MetadataTensor,
    Parameters,
    ResponseOutput,
)
from mlserver.utils import get_model_uri
from operations import check_operations
from validation import (
    DATATYPES,
    DEFAULT,
    OUTPUT_DATATYPES,
    SAMPLE,
    Refused,
    Signature,
    check_request,
)

METADATA = "metadata"
UNCERTAINTIES = ("total", "aleatoric", "epistemic", "variance")


class SavedModelRuntime(MLModel):
    """Answers by the signatures of a SavedModel.

    `parameters` of a request choose: `signature`, one of the model's
    (`serving_default`), and for `sample` a `seed`. Without a signature, `outputs` may
    name those of `members` too.

    The settings `max_batch_size` and `max_batch_time` count inputs and seconds; under
    `parameters.extra` are `max_images`, the inputs of one request, and `max_waiting`,
    those of all that wait.
    """

    def __init__(self, settings):
        super().__init__(settings)
        extra = (settings.parameters and settings.parameters.extra) or {}
        self._max_images = extra.get("max_images", 64)
        self._batcher = Batcher(
            self._run,
            max(settings.max_batch_size, 1),
            settings.max_batch_time,
            extra.get("max_waiting", 2048),
        )
        settings.max_batch_size = 0  # MLServer's batching is off: see batcher.py
        self._loaded, self._signatures, self._description = None, {}, {}

    async def load(self) -> bool:
        """Returns whether the model is ready; others are served if it is not."""
        try:
            path = await get_model_uri(self.settings)
            await asyncio.to_thread(self._load, path)
        except Exception as error:  # TensorFlow, protobuf: each has its own.
            logger.error(
                "The model '%s' is not served: %s: %s",
                self.name,
                type(error).__name__,
                str(error)[:1000],
            )
            return False
        return True

    def _load(self, path):
        check_operations(path)
        # Signatures do not keep their variables: what has them must stay.
        self._loaded = tf.saved_model.load(path)
        found = self._loaded.signatures
        if DEFAULT not in found:
            raise ValueError(f"{path} has no signature {DEFAULT}")
        signatures = {
            name: _signature(function)
            for name, function in found.items()
            if name != METADATA
        }
        if METADATA in found:
            text = found[METADATA]()["metadata"].numpy()
            self._description = json.loads(text)
        for name, signature in signatures.items():
            self._try_out(name, signature)
        self._signatures = signatures
        default = signatures[DEFAULT]
        self.inputs = [_tensor(*item) for item in default.inputs.items()]
        outputs = {
            key: value
            for name, signature in reversed(signatures.items())
            if name != SAMPLE
            for key, value in signature.outputs.items()
        }
        self.outputs = [_tensor(*item) for item in outputs.items()]

    def _try_out(self, name, signature):
        """Runs zeros through a network: the first call is slow, and tells."""
        zeros = {
            key: np.zeros((1, *shape), dtype)
            for key, (dtype, shape) in signature.inputs.items()
        }
        found = _call(signature, zeros, 0 if name == SAMPLE else None)
        for key, array in found.items():
            if not np.isfinite(array).all():
                raise ValueError(f"{name} gives {key} that is not finite")

    async def metadata(self) -> MetadataModelResponse:
        """Returns what the model takes and gives, and what it says of itself."""
        found = await super().metadata()
        found.platform = "tensorflow_savedmodel"
        found.parameters = Parameters(
            # gRPC has no lists: there, `description` has the names.
            class_names=self._description.get("class_names"),
            description=json.dumps(self._description),
            signatures=", ".join(self._signatures),
            max_images=self._max_images,
        )
        return found

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Returns the outputs of the signatures that a request asks for."""
        wanted = check_request(payload, self._signatures, self._max_images)
        payload.inputs.clear()  # the arrays are smaller, and may have to wait
        answers = await asyncio.gather(
            *(
                self._batcher((name, wanted.seed), wanted.arrays)
                for name in wanted.signatures
            )
        )
        found = {}
        for (name, outputs), answer in zip(
            wanted.signatures.items(), answers, strict=True
        ):
            found.update({output: answer[output] for output in outputs})
            self._count(name, answer)
        if not all(np.isfinite(array).all() for array in found.values()):
            raise Refused(
                "not_finite", "The inputs are so large that the outputs are not finite."
            )
        counters.IMAGES.labels(self.name).inc(len(next(iter(found.values()))))
        return InferenceResponse(
            model_name=self.name,
            model_version=self.version,
            outputs=[_output(*item) for item in found.items()],
        )

    def _run(self, key, arrays):
        name, seed = key
        counters.BATCH.labels(self.name).observe(len(next(iter(arrays.values()))))
        return _call(self._signatures[name], arrays, seed)

    def _count(self, name, answer):
        counters.REQUESTS.labels(self.name, name).inc()
        for kind in UNCERTAINTIES:
            if kind in answer:
                mean = float(answer[kind].mean())
                counters.UNCERTAINTY.labels(self.name, kind).observe(mean)
        if "rejected" in answer:
            counters.UNKNOWN.labels(self.name).inc(int(answer["rejected"].sum()))


def _signature(function):
    specs = function.structured_input_signature[1]
    inputs = {
        name: _dtype_and_shape(name, spec, DATATYPES)
        for name, spec in specs.items()
        if name != "seed"
    }
    outputs = {
        name: _dtype_and_shape(name, spec, OUTPUT_DATATYPES)
        for name, spec in function.structured_outputs.items()
    }
    return Signature(function, inputs, outputs)


def _dtype_and_shape(name, spec, allowed):
    dtype, shape = np.dtype(spec.dtype.as_numpy_dtype), spec.shape
    if dtype.name not in allowed or not shape.rank or None in shape[1:].as_list():
        raise ValueError(
            f"`{name}` must be numbers, of a shape that is known but for the batch. "
            f"It is {spec}"
        )
    return dtype, tuple(shape[1:].as_list())


def _call(signature, arrays, seed):
    tensors = {name: tf.constant(array) for name, array in arrays.items()}
    if seed is not None:
        tensors["seed"] = tf.constant(seed, tf.int32)
    return {k: v.numpy() for k, v in signature.function(**tensors).items()}


def _tensor(name, dtype_and_shape):
    dtype, shape = dtype_and_shape
    datatype = OUTPUT_DATATYPES[dtype.name]
    return MetadataTensor(name=name, datatype=datatype, shape=[-1, *shape])


def _output(name, array):
    return ResponseOutput(
        name=name,
        shape=list(array.shape),
        datatype=OUTPUT_DATATYPES[array.dtype.name],
        data=array.ravel().tolist(),
    )
