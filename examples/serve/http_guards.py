"""HTTP, for clients that nobody knows: uvicorn's connections and FastAPI's requests.

Neither bounds the time in which a request must come, the bytes that it may have, or
what they become once they are parsed.
"""

import functools
import gc
import http
import json
import sys

import counters
import h11
import orjson
import uvicorn
from bounds import PARTS, Limits, Room, json_excess
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from mlserver.handlers import DataPlane
from mlserver.types import InferenceRequest, InferenceResponse
from mlserver.utils import extract_headers, insert_headers
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from uvicorn.protocols.http.h11_impl import H11Protocol
from validation import Refused, check_length

METHODS = ("GET", "HEAD", "OPTIONS", "POST")
SECONDS_TO_CLOSE = 1
BUSY = "There are too many requests at once: try again later."


def guard_config(config: uvicorn.Config, limits: Limits) -> uvicorn.Config:
    """Returns the settings of a server whose connections are `BoundedConnection`s.

    Args:
        config: uvicorn's, of a server that has not started; it is changed.
        limits: what a client may ask for.
    """
    config.http = functools.partial(BoundedConnection, limits=limits)
    config.ws = "none"
    config.h11_max_incomplete_event_size = limits.header_bytes
    return config


def guard_app(app: FastAPI, data_plane: DataPlane, limits: Limits, size: int) -> None:
    """Bounds what HTTP takes, and says in words what it refuses.

    Args:
        app: MLServer's.
        data_plane: what answers.
        limits: what a client may ask for.
        size: bytes of a body.
    """
    infer = _infer_endpoint(data_plane)
    routes = []
    for route in app.router.routes:
        if route.path.endswith(("/infer", "/generate")):
            route = type(route)(route.path, infer, methods=["POST"])
        if not route.path.endswith("_stream"):
            routes.append(route)
    app.router.routes = routes
    app.add_exception_handler(RequestValidationError, _say_what_is_malformed)
    app.add_exception_handler(HTTPException, _say_what_is_wrong)
    app.add_middleware(BoundedRequests, limits=limits, size=size)


class BoundedConnection(H11Protocol):
    """uvicorn's connection, with limits: of time, of headers, of connections.

    Args:
        limits: what a client may ask for.
        arguments: uvicorn's.
    """

    def __init__(self, *arguments, limits: Limits, **more):
        super().__init__(*arguments, **more)
        self._limits = limits
        self._reading = self._writing = None
        self._since = 0.0
        self.conn = _Pieces(limits.header_bytes, limits.chunks)
        # The app finds it in `scope["state"]`.
        self.app_state = {**self.app_state, "connection": self}

    def connection_made(self, transport):
        """Takes a connection, in place of one that waits if there are too many."""
        super().connection_made(transport)
        self._wait_for_request()
        if len(self.connections) > self._limits.connections:
            waiting = [each for each in self.connections if each.waits()]
            oldest = min(waiting, key=lambda each: each._since)
            oldest.refuse("busy", BUSY, 429)

    def connection_lost(self, error):
        """Forgets a connection."""
        self._stop_timers()
        super().connection_lost(error)

    def on_response_complete(self):
        """Waits for the next request."""
        self._wait_for_request()
        super().on_response_complete()

    def pause_writing(self):
        """Gives a client who does not read some time."""
        super().pause_writing()
        if self._writing is None:
            seconds = self._limits.write_seconds
            self._writing = self.loop.call_later(seconds, self.transport.abort)

    def resume_writing(self):
        """Goes on: the client reads."""
        super().resume_writing()
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None

    def send_400_response(self, message):
        """Says what is wrong with something that is not HTTP."""
        # uvicorn catches it, and says nothing of it.
        error = sys.exc_info()[1]
        status = getattr(error, "error_status_hint", 400)
        if status == 431:
            size = self._limits.header_bytes
            message = f"The headers must have at most {size} bytes."
            self.refuse("headers", message, status)
        else:
            message = f"The request must be one of HTTP/1.1: {str(error)[:100]}"
            self.refuse("http", message, status)

    def waits(self) -> bool:
        """Whether there is no whole request that is being answered."""
        coming = self.conn.their_state in (h11.IDLE, h11.SEND_BODY)
        return coming and not self.transport.is_closing()

    def refuse(self, reason: str, message: str, status: int) -> None:
        """Ends the connection, with an answer if none has begun."""
        counters.REFUSED.labels("", reason).inc()
        if not self.transport.is_closing():
            if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                self.transport.write(_raw_answer(message, status))
            self.transport.close()
        # To close is to wait until the client has read what was written.
        self.loop.call_later(SECONDS_TO_CLOSE, self.transport.abort)
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()

    def _wait_for_request(self):
        self._since = self.loop.time()
        if self._reading is not None:
            self._reading.cancel()
        self._start_part(PARTS)

    def _start_part(self, left):
        seconds = self._limits.read_seconds / PARTS
        self._reading = self.loop.call_later(seconds, self._end_part, left - 1)

    def _end_part(self, left):
        if left:
            self._start_part(left)
        elif self.transport.is_closing():  # but still has something to send
            self.transport.abort()
        elif self.waits():
            seconds = f"{self._limits.read_seconds:g}"
            message = f"The whole request must come within {seconds} seconds."
            self.refuse("slow", message, 408)

    def _stop_timers(self):
        for timer in (self._reading, self._writing):
            if timer is not None:
                timer.cancel()


class _Pieces(h11.Connection):
    """h11's connection, whose bodies without a length have not too many pieces."""

    def __init__(self, header_bytes, chunks):
        super().__init__(h11.SERVER, header_bytes)
        self._chunks, self._count = chunks, 0

    def next_event(self):
        event = super().next_event()
        if type(event) is h11.Request:
            self._count = 0
        elif type(event) is h11.Data:
            self._count += event.chunk_start
            if self._count > self._chunks:
                raise h11.RemoteProtocolError(
                    f"a body must come in at most {self._chunks} chunks", 413
                )
        return event


class BoundedRequests:
    """Reads bodies before anything else does, up to limits.

    Args:
        app: what gets the request then.
        limits: what a client may ask for.
        size: bytes of a body.
    """

    def __init__(self, app, limits: Limits, size: int):
        self._app, self._limits, self._size = app, limits, size
        self._room = Room(limits.requests, limits.request_bytes)

    async def __call__(self, scope, receive, send):
        """Passes a request on, or refuses it."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        refused = self._check_headers(scope)
        if refused:
            return await self._refuse(refused, receive, send)
        if scope["method"] != "POST":
            return await self._app(scope, receive, send)
        refuse = scope["state"]["connection"].refuse
        give_way = functools.partial(refuse, "busy", BUSY, 429)
        with self._room.place(give_way) as place:
            body, more = bytearray(), True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                piece, more = message.get("body", b""), message.get("more_body")
                if len(body) + len(piece) > self._size:
                    return await self._refuse(self._too_large(), receive, send, more)
                if not place.take(len(piece)):
                    return None
                body += piece
            excess = json_excess(body, self._limits)
            if excess:
                refused = Refused("values", excess, 413)
                return await self._refuse(refused, receive, send, False)
            if not place.work():
                refused = Refused("busy", BUSY, 429)
                return await self._refuse(refused, receive, send, False)
            whole = [{"type": "http.request", "body": body, "more_body": False}]
            # Nothing here holds it while it is answered.
            del body, piece, message

            async def replay():
                return whole.pop() if whole else await receive()

            await self._app(scope, replay, send)

    def _check_headers(self, scope):
        """Returns what is wrong with a request before its body comes, or `None`."""
        headers = scope["headers"]
        most = self._limits.headers
        if len(headers) > most:
            message = f"A request must have at most {most} headers."
            return Refused("headers", message, 431)
        most = self._limits.header_bytes
        sizes = (len(name) + len(value) + 4 for name, value in headers)
        if len(scope["raw_path"]) + len(scope["query_string"]) + sum(sizes) > most:
            message = f"The headers must have at most {most} bytes."
            return Refused("headers", message, 431)
        if scope["method"] not in METHODS:
            message = f"The method must be one of {', '.join(METHODS)}."
            return Refused("method", message, 405)
        given = dict(headers)
        if b"content-encoding" in given:
            # A few bytes may unpack to any number.
            return Refused("encoding", "The body must not be compressed.", 415)
        # h11 has seen that it is a number, of at most 20 digits.
        if int(given.get(b"content-length", 0)) > self._size:
            return self._too_large()
        return None

    def _too_large(self):
        message = f"The body must have at most {self._size} bytes."
        return Refused("size", message, 413)

    async def _refuse(self, refused, receive, send, more=True):
        """Answers, and then drops what still comes; `more` says if anything may."""
        counters.REFUSED.labels("", refused.reason).inc()
        headers = {"connection": "close"} if more else {}
        if refused.status_code == 405:
            headers["allow"] = ", ".join(METHODS)
        answer = JSONResponse({"error": str(refused)}, refused.status_code, headers)
        start = {"type": "http.response.start", "status": answer.status_code}
        await send({**start, "headers": answer.raw_headers})
        body = {"type": "http.response.body", "body": answer.body}
        await send({**body, "more_body": True})
        # Within reason: who is still sending does not see the answer if the connection
        # is closed.
        dropped = 0
        while more and dropped <= self._size:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            dropped += len(message.get("body", b""))
            more = message.get("more_body")
        await send({"type": "http.response.body", "body": b""})


def _raw_answer(message, status):
    body = json.dumps({"error": message}).encode()
    head = (
        f"HTTP/1.1 {status} {http.HTTPStatus(status).phrase}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + body


def _infer_endpoint(data_plane):
    """Returns what answers a request for a prediction.

    MLServer's own leaves the body to FastAPI, which keeps everything that came, parsed
    and unparsed, until the answer is sent.
    """

    async def infer(
        raw_request: Request,
        raw_response: Response,
        model_name: str,
        model_version: str | None = None,
    ) -> InferenceResponse:
        kind = raw_request.headers.get("content-type", "application/json")
        body = b"".join([piece async for piece in raw_request.stream()])
        try:
            payload = _parse(kind, body)
        except Refused as error:
            counters.REFUSED.labels("", error.reason).inc()
            raise
        del body  # it is parsed
        insert_headers(payload, dict(raw_request.headers))
        answer = await data_plane.infer(payload, model_name, model_version)
        raw_response.headers.update(extract_headers(answer) or {})
        return answer

    return infer


def _parse(content_type, body):
    """Returns an `InferenceRequest`."""
    kind = content_type.partition(";")[0].strip().lower()
    if not (kind == "application/json" or kind.endswith("+json")):
        raise _malformed("body: its Content-Type must be application/json")
    if not body:
        raise _malformed("body: Field required")
    # Many lists would have the collector look at all that there is, over and over.
    gc.disable()
    try:
        content = orjson.loads(body)
    except ValueError as error:
        raise Refused("json", "The body must be JSON.") from error
    finally:
        gc.enable()
    if isinstance(content, dict):
        _check_lengths(content)
    try:
        return InferenceRequest.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise _malformed(_describe(first["loc"], first["msg"])) from error


def _check_lengths(content):
    """Refuses lists so long that to say what is wrong with each entry is too much."""
    for name in ("inputs", "outputs"):
        check_length(name, content.get(name))
    for tensor in content.get("inputs") or ():
        if isinstance(tensor, dict):
            check_length("shape", tensor.get("shape"))


def _malformed(message):
    return Refused(
        "json",
        f"The body must be a request of the protocol, sent as JSON. {message}",
    )


def _describe(place, message):
    place = ".".join(str(part) for part in place)[:100]
    return f"{place or 'body'}: {message[:200]}"


async def _say_what_is_malformed(request: Request, error: RequestValidationError):
    # Not the whole of it, which would hold what came.
    first = error.errors()[0]
    counters.REFUSED.labels("", "json").inc()
    if first["type"] == "json_invalid":
        message = "The body must be JSON."
    else:
        message = str(_malformed(_describe(first["loc"][1:], first["msg"])))
    return JSONResponse({"error": message}, 400)


async def _say_what_is_wrong(request: Request, error: HTTPException):
    if request.method == "POST" and error.status_code == 400:
        counters.REFUSED.labels("", "json").inc()
    return JSONResponse({"error": str(error.detail)}, error.status_code)
