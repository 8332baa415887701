"""gRPC, for clients that nobody knows.

Of itself it unpacks compressed messages of any size, parses a message before it is
counted what is in it, and waits for one as long as a client likes.
"""

import asyncio
import functools
import logging
import traceback

import counters
import google.protobuf.descriptor as descriptors
import grpc
import numpy as np
from bounds import PARTS, Limits, Room
from google.protobuf.message import DecodeError
from grpc import aio
from mlserver.errors import MLServerError
from mlserver.grpc.dataplane_pb2_grpc import add_GRPCInferenceServiceServicer_to_server
from mlserver.grpc.interceptors import PromServerInterceptor
from mlserver.grpc.model_repository import ModelRepositoryServicer
from mlserver.grpc.model_repository_pb2_grpc import (
    add_ModelRepositoryServiceServicer_to_server,
)
from mlserver.grpc.server import GRPCServer
from mlserver.grpc.servicers import InferenceServicer
from mlserver.grpc.utils import STATUS_CODE_MAPPING, handle_mlserver_error
from mlserver.types import TensorData
from validation import DATATYPES, Refused, check_length

STATUS_CODE_MAPPING.update(
    {
        403: grpc.StatusCode.PERMISSION_DENIED,
        408: grpc.StatusCode.DEADLINE_EXCEEDED,
        413: grpc.StatusCode.RESOURCE_EXHAUSTED,
        429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    }
)
# Messages that may be sent at once: gRPC holds them, whole or not, and says of none
# how much of it is there.
MAX_SENT = 64
# Bytes of a text; errors repeat some.
MAX_TEXT = 2**14
BUSY = "There are too many requests at once: try again later."


class BoundedGRPCServer(GRPCServer):
    """MLServer's server of gRPC, with limits.

    Args:
        limits: what a client may ask for.
        arguments: MLServer's.
    """

    def __init__(self, *arguments, limits: Limits):
        super().__init__(*arguments)
        self._limits = limits

    def _create_server(self):
        interceptors = [BoundedCalls(self._limits)]
        if self._settings.metrics_endpoint:
            interceptors.append(
                PromServerInterceptor(enable_handling_time_histogram=True)
            )
        self._server = aio.server(
            interceptors=interceptors, options=self._get_options()
        )
        handlers = self._model_repository_handlers
        add_GRPCInferenceServiceServicer_to_server(
            CheckedServicer(self._data_plane, handlers), self._server
        )
        add_ModelRepositoryServiceServicer_to_server(
            ModelRepositoryServicer(handlers), self._server
        )
        address = f"{self._settings.host}:{self._settings.grpc_port}"
        self._server.add_insecure_port(address)
        return self._server

    def _get_options(self):
        milliseconds = int(1000 * self._limits.read_seconds)
        return [
            *super()._get_options(),
            # Nothing compressed: a few bytes may unpack to any number.
            ("grpc.compression_enabled_algorithms_bitset", 1),
            ("grpc.max_concurrent_streams", MAX_SENT),
            ("grpc.max_metadata_size", self._limits.header_bytes),
            ("grpc.absolute_max_metadata_size", self._limits.header_bytes),
            ("grpc.max_allowed_incoming_connections", self._limits.connections),
            ("grpc.server_handshake_timeout_ms", milliseconds),
            ("grpc.http2.bdp_probe", 0),  # it lets streams send more ahead
        ]


class BoundedCalls(aio.ServerInterceptor):
    """Waits for messages for a time, and counts what is in them before they are parsed.

    Args:
        limits: what a client may ask for.
    """

    def __init__(self, limits: Limits):
        self._limits = limits
        self._coming = Room(MAX_SENT, 1)
        self._room = Room(limits.requests, limits.request_bytes)

    async def intercept_service(self, continuation, handler_call_details):
        """Returns what handles a call: a unary one gets its message here."""
        handler = await continuation(handler_call_details)
        if handler is None or handler.unary_unary is None:
            return handler
        # On the wire a call of one message is a stream that ends.
        return grpc.stream_unary_rpc_method_handler(
            functools.partial(self._answer, handler),
            response_serializer=handler.response_serializer,
        )

    async def _answer(self, handler, messages, context):
        content = parsed = None
        try:
            content = await self._read(messages)
            parsed = self._parse(content, handler.request_deserializer)
            with self._room.place(lambda: None) as place:
                if not (place.take(len(content)) and place.work()):
                    raise Refused("busy", BUSY, 429)
                content = None  # it is parsed
                return await handler.unary_unary(parsed, context)
        except Refused as error:
            counters.REFUSED.labels("", error.reason).inc()
            status, message = STATUS_CODE_MAPPING[error.status_code], str(error)
            _forget_locals(error)
        except BaseException as error:
            _forget_locals(error)
            raise
        finally:
            content = parsed = None
        await context.abort(status, message)

    async def _read(self, messages):
        """Returns the bytes of the only message of a call."""
        reading = asyncio.ensure_future(anext(messages, None))
        seconds = self._limits.read_seconds
        try:
            with self._coming.place(reading.cancel):
                for _ in range(PARTS):
                    await asyncio.wait({reading}, timeout=seconds / PARTS)
                    if reading.done():
                        break
            if reading.cancelled():
                raise Refused("busy", BUSY, 429)
            if not reading.done():
                message = f"The whole request must come within {seconds:g} seconds."
                raise Refused("slow", message, 408)
        finally:
            reading.cancel()
        content = reading.result()
        if content is None:
            raise Refused("message", "A call must have a message.")
        return content

    def _parse(self, content, parse):
        _Count(self._limits).add(content, parse.__self__.DESCRIPTOR)
        try:
            return parse(content)
        except DecodeError as error:
            raise _no_message() from error


def _forget_locals(error):
    """Frees what the functions held that an error has left.

    gRPC's context keeps the error of an aborted call, and the error these functions,
    which have the context: a circle, with everything that came, until the collector
    finds it.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


class _Count:
    """Counts the fields of a message, and the numbers in them."""

    def __init__(self, limits):
        self._limits, self._fields, self._numbers = limits, 0, 0

    def add(self, content, descriptor):
        """Counts what is in a message; raises Refused if it is too much or none."""
        try:
            self._add(content, descriptor)
        except IndexError as error:
            raise _no_message() from error

    def _add(self, content, descriptor):
        place = 0
        while place < len(content):
            tag, place = _varint(content, place)
            field = descriptor.fields_by_number.get(tag >> 3)
            kind = tag & 7
            self._fields += 1
            if self._fields > self._limits.names:
                raise Refused(
                    "values",
                    f"The message must have at most {self._limits.names} fields.",
                    413,
                )
            if kind == 0:
                _, place = _varint(content, place)
            elif kind in (1, 5):
                place += 8 if kind == 1 else 4
            elif kind == 2:
                size, place = _varint(content, place)
                part = content[place : place + size]
                place += size
                if field is not None:
                    self._add_part(part, field)
            else:
                raise _no_message()
        if place > len(content):
            raise _no_message()

    def _add_part(self, part, field):
        if field.type == field.TYPE_MESSAGE:
            self._add(part, field.message_type)
        elif field.type == field.TYPE_STRING:
            if len(part) > MAX_TEXT:
                raise Refused(
                    "values",
                    f"A text of the message must have at most {MAX_TEXT} bytes.",
                    413,
                )
        elif field.type != field.TYPE_BYTES:
            self._numbers += _count_numbers(part, field)
            if self._numbers > self._limits.values:
                raise Refused(
                    "values",
                    f"The message must have at most {self._limits.values} numbers, "
                    "or raw contents.",
                    413,
                )


_Field = descriptors.FieldDescriptor
_SIZES = {
    **dict.fromkeys((_Field.TYPE_FLOAT, _Field.TYPE_FIXED32, _Field.TYPE_SFIXED32), 4),
    **dict.fromkeys((_Field.TYPE_DOUBLE, _Field.TYPE_FIXED64, _Field.TYPE_SFIXED64), 8),
}
# Bytes after which a number goes on.
_GOES_ON = bytes(range(128, 256))


def _count_numbers(part, field):
    if field.type in _SIZES:
        return len(part) // _SIZES[field.type]
    return len(part.translate(None, _GOES_ON))


def _varint(content, place):
    """Returns a number of at most ten bytes, and the place behind it."""
    value = 0
    for shift in range(0, 70, 7):
        byte = content[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
    raise _no_message()


def _no_message():
    return Refused("message", "The bytes must be a message of the protocol.")


class CheckedServicer(InferenceServicer):
    """A malformed message is the client's mistake."""

    # Unknown names are errors with a status here too.
    ModelReady = handle_mlserver_error(InferenceServicer.ModelReady)

    async def ModelStreamInfer(self, requests, context):  # noqa: N802
        """Refuses: nothing here is a stream."""
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "Use ModelInfer.")
        yield

    def _InsertHeaders(self, request, context):  # noqa: N802
        try:
            check_length("inputs", request.inputs)
            check_length("outputs", request.outputs)
            for tensor in request.inputs:
                check_length("shape", tensor.shape)
            # MLServer would make lists of them.
            raw = list(request.raw_input_contents)
            del request.raw_input_contents[:]
            payload = super()._InsertHeaders(request, context)
            _insert_raw(payload.inputs, raw)
            return payload
        except Refused as error:
            counters.REFUSED.labels("", error.reason).inc()
            raise
        except Exception as error:  # struct, pydantic: each has its own.
            counters.REFUSED.labels("", "message").inc()
            raise Refused(
                "message",
                "The shapes, datatypes and contents of the inputs, or the parameters, "
                f"do not make a request: {str(error)[:200]}",
            ) from error


_DTYPES = {datatype: np.dtype(name) for name, datatype in DATATYPES.items()}


def _insert_raw(inputs, contents):
    """Gives raw contents, as arrays, to the inputs that have no others."""
    empty = [tensor for tensor in inputs if not len(tensor.data)]
    if contents and len(contents) != len(empty):
        raise ValueError(f"{len(contents)} raw contents for {len(empty)} inputs")
    for tensor, content in zip(empty, contents):
        if tensor.datatype in _DTYPES:  # others are refused later
            array = np.frombuffer(content, _DTYPES[tensor.datatype])
            tensor.data = TensorData.model_construct(root=array)


def no_refusals(record: logging.LogRecord) -> bool:
    """Whether something is to be logged: MLServer writes a traceback of each error."""
    error = record.exc_info and record.exc_info[1]
    return not (isinstance(error, MLServerError) and error.status_code < 500)
