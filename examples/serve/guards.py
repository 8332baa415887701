"""MLServer, for clients that nobody knows.

Of itself it takes bodies of any size, unpacks whatever is compressed, lets every
client unload its models, and calls some malformed requests its own failure. It has no
settings for that, so that this reaches into what is MLServer's own: requirements.txt
holds the version for which it was written.
"""

import logging

import counters
import grpc
import mlserver.grpc.server
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from mlserver import MLServer
from mlserver.errors import MLServerError
from mlserver.grpc.servicers import InferenceServicer
from mlserver.grpc.utils import STATUS_CODE_MAPPING, handle_mlserver_error
from mlserver.handlers import ModelRepositoryHandlers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from validation import Refused

# Longer ones, or those that are no text of ASCII, do not fit into a header.
MAX_ID = 128

STATUS_CODE_MAPPING.update(
    {
        403: grpc.StatusCode.PERMISSION_DENIED,
        413: grpc.StatusCode.RESOURCE_EXHAUSTED,
        429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    }
)


class GuardedServer(MLServer):
    """MLServer with limits; HTTP bodies are as long as gRPC messages may be."""

    def _create_servers(self):
        self._data_plane.infer = _guarded(self._data_plane)
        self._model_repository_handlers = IndexOnly(
            self._model_repository, self._model_registry
        )
        mlserver.grpc.server.InferenceServicer = CheckedServicer
        super()._create_servers()
        guard_app(self._rest_server._app, self._settings.grpc_max_message_length)

    async def start(self, models_settings=()):
        """Serves until it is told to stop."""
        logging.getLogger("mlserver.grpc").addFilter(_no_refusals)
        await super().start(list(models_settings))


class IndexOnly(ModelRepositoryHandlers):
    """Says what models there are; who runs the server says which."""

    async def load(self, name):
        """Refuses."""
        raise Refused("repository", "Models are not loaded by clients.", 403)

    async def unload(self, name):
        """Refuses."""
        raise Refused("repository", "Models are not unloaded by clients.", 403)


class CheckedServicer(InferenceServicer):
    """gRPC's side: a malformed message is the client's mistake."""

    # Unknown names are errors with a status here too.
    ModelReady = handle_mlserver_error(InferenceServicer.ModelReady)

    async def ModelStreamInfer(self, requests, context):  # noqa: N802
        """Refuses: nothing here is a stream."""
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "Use ModelInfer.")
        yield

    def _InsertHeaders(self, request, context):  # noqa: N802
        try:
            return super()._InsertHeaders(request, context)
        except Exception as error:  # struct, pydantic: each has its own.
            counters.REFUSED.labels("", "message").inc()
            raise Refused(
                "message",
                "The shapes, datatypes and contents of the inputs, or the parameters, "
                f"do not make a request: {str(error)[:200]}",
            ) from error


def guard_app(app: FastAPI, limit: int) -> None:
    """Bounds what HTTP takes, and says in words what it refuses.

    Args:
        app: MLServer's.
        limit: bytes of a body.
    """
    app.router.routes = [
        route for route in app.router.routes if not route.path.endswith("_stream")
    ]
    app.add_exception_handler(RequestValidationError, _say_what_is_malformed)
    app.add_exception_handler(HTTPException, _say_what_is_wrong)
    app.add_middleware(BoundedBody, limit=limit)


class BoundedBody:
    """Reads bodies before anything else does, up to a limit.

    Args:
        app: what gets the request then.
        limit: bytes of a body.
    """

    def __init__(self, app, limit: int):
        self._app, self._limit = app, limit

    async def __call__(self, scope, receive, send):
        """Passes a request on, or refuses it."""
        if scope["type"] != "http" or scope["method"] not in ("POST", "PUT", "PATCH"):
            return await self._app(scope, receive, send)
        if any(name == b"content-encoding" for name, _ in scope["headers"]):
            # A few bytes may unpack to any number.
            answer = _refuse("encoding", "The body must not be compressed.", 415)
            return await answer(scope, receive, send)
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            # The rest is read and dropped: a client hears nothing while it sends.
            if len(body) <= self._limit:
                body += message.get("body", b"")
            if not message.get("more_body"):
                break
        if len(body) > self._limit:
            answer = _refuse(
                "size", f"The body must have at most {self._limit} bytes.", 413
            )
            return await answer(scope, receive, send)
        whole = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def replay():
            return whole.pop() if whole else await receive()

        return await self._app(scope, replay, send)


def _guarded(data_plane):
    """Returns MLServer's `infer`, both protocols' way to a model, with counters."""
    infer = data_plane.infer

    async def guarded(payload, name, version=None):
        try:
            # MLServer keeps numbers for every name that it is asked for.
            await data_plane._model_registry.get_model(name, version)
        except MLServerError:
            counters.REFUSED.labels("", "model").inc()
            raise
        try:
            _check_id(payload.id)
            return await infer(payload, name, version)
        except Refused as error:
            counters.REFUSED.labels(name, error.reason).inc()
            raise

    return guarded


def _check_id(text):
    # It comes back as a header.
    if text and not (len(text) <= MAX_ID and text.isascii() and text.isprintable()):
        raise Refused(
            "id", f"`id` must be at most {MAX_ID} printable characters of ASCII."
        )


def _refuse(reason, message, status):
    counters.REFUSED.labels("", reason).inc()
    return JSONResponse({"error": message}, status)


async def _say_what_is_malformed(request: Request, error: RequestValidationError):
    # Not the whole of it, which would hold what came.
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return _refuse("json", "The body must be JSON.", 400)
    place = ".".join(str(part) for part in first["loc"][1:])[:100]
    message = (
        f"The body must be a request of the protocol, sent as JSON. {place or 'body'}: "
    )
    return _refuse("json", message + first["msg"][:200], 400)


async def _say_what_is_wrong(request: Request, error: HTTPException):
    if request.method == "POST" and error.status_code == 400:
        counters.REFUSED.labels("", "json").inc()
    return JSONResponse({"error": str(error.detail)}, error.status_code)


def _no_refusals(record):
    """Whether something is to be logged: MLServer writes a traceback of each error."""
    error = record.exc_info and record.exc_info[1]
    return not (isinstance(error, MLServerError) and error.status_code < 500)
