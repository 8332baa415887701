"""Serves the page, and hands what it asks of a model on to a server.

python examples/serve/page/serve_page.py --server_url=http://127.0.0.1:8080
python examples/serve/page/serve_page.py --saved_model=models/fashion/1

The first needs a server of the Open Inference Protocol, version 2, such as MLServer,
and only the standard library and absl here. The second needs TensorFlow, and answers
itself, with what `tfhyper.export.saved_model` wrote. Neither needs Keras or tfhyper.

It is for one's own machine: there are no passwords. Of the server it shows what the
page needs, to read and to predict, and nothing that loads or unloads models.
"""

import contextlib
import functools
import http.client
import http.server
import io
import json
import os
import pathlib
import re
import socket
import sys
import threading
import time
import urllib.parse

from absl import app, flags
from local_model import LocalModel, Refused, Room, short

FLAGS = flags.FLAGS
flags.DEFINE_string("server_url", "http://127.0.0.1:8080", "Server that predicts.")
flags.DEFINE_string("saved_model", None, "A SavedModel to answer with, in its place.")
flags.DEFINE_string("host", "127.0.0.1", "Address to listen on.")
flags.DEFINE_integer("port", 8000, "Port to listen on; 0 for any that is free.", 0)
flags.DEFINE_float("timeout", 30, "Seconds that the server has for an answer.", 0.1)
flags.DEFINE_float(
    "read_seconds", 20, "Seconds in which a whole request must come.", 0.1
)

FOLDER = pathlib.Path(__file__).parent
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
}
# Everything else of the server's stays behind it.
ALLOWED = {
    "GET": re.compile(r"/v2/(health/(live|ready)|models/[\w.-]+(/ready)?)", re.A),
    "POST": re.compile(r"/v2/(repository/index|models/[\w.-]+/infer)", re.A),
}
MOST_BYTES = 4 << 20  # as ../settings.json has it
MOST_ANSWER_BYTES = 16 << 20
MOST_HEADER_BYTES = 32 << 10
# At once: threads, and requests that are sent or at work, with bytes of their bodies.
MOST_CONNECTIONS = 64
MOST_REQUESTS = 16
MOST_REQUEST_BYTES = 16 << 20
WRITE_SECONDS = 20
# A client that is still sending does not see its answer if the connection is closed:
# so much of what is refused is read, and dropped.
DROPPED_BYTES = 8 * MOST_BYTES
DROP_SECONDS = 2
BUSY = "There are too many requests at once: try again later."


class Forwarder:
    """Answers with what a server answers.

    Args:
        url: its address, "http://host:port".
        timeout: seconds that it has.
    """

    def __init__(self, url: str, timeout: float):
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(
                f"--server_url must be http://host:port. Received: --server_url={url}"
            )
        self._url = url.rstrip("/")
        self._timeout = timeout
        self._path = parts.path.rstrip("/")
        secure = parts.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        self._connect = functools.partial(kind, parts.hostname, parts.port)

    def answer(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        """Returns status and JSON; raises Refused without an answer."""
        late = threading.Event()
        headers = {"Content-Type": "application/json"}
        try:
            with (
                contextlib.closing(self._connect(timeout=self._timeout)) as connection,
                self._bounded(connection, late),
            ):
                connection.request(method, self._path + path, body, headers)
                response = connection.getresponse()
                answer = response.read(MOST_ANSWER_BYTES + 1)
                missing = response.length and len(answer) <= MOST_ANSWER_BYTES
        except (OSError, http.client.HTTPException) as error:
            if late.is_set() or isinstance(error, TimeoutError):
                raise self._too_slow() from error
            raise Refused(
                502, f"The model server at {self._url} does not answer: {error}"
            ) from error
        if late.is_set():
            raise self._too_slow()
        if missing:
            raise Refused(502, f"The model server at {self._url} breaks off.")
        if len(answer) > MOST_ANSWER_BYTES:
            raise Refused(502, "The model server's answer is too large.")
        return response.status, answer

    @contextlib.contextmanager
    def _bounded(self, connection, late):
        """Ends a connection after the time, however much comes meanwhile."""
        connection.connect()

        def end(opened=connection.sock):
            late.set()
            _shut(opened)

        timer = threading.Timer(self._timeout, end)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _too_slow(self):
        return Refused(
            504, f"The model server took more than {self._timeout:g} seconds."
        )


def _shut(connection):
    """Ends a connection that another thread may be reading."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _turn_away(connection):
    """Ends a connection, and says why if that goes at once."""
    body = json.dumps({"error": BUSY}).encode()
    head = (
        "HTTP/1.1 429 Too Many Requests\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    with contextlib.suppress(OSError):
        connection.send(head.encode() + body, socket.MSG_DONTWAIT)
    _shut(connection)


class BoundedServer(http.server.ThreadingHTTPServer):
    """A thread for each connection, but not for any number.

    One too many takes the place of the connection that has waited for a request for
    longest.
    """

    request_queue_size = 128

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.room = Room(MOST_REQUESTS, MOST_REQUEST_BYTES)
        self._open, self._waiting = set(), {}  # the latter in order
        self._lock = threading.Lock()

    def process_request(self, request, client_address):
        """Starts a thread, or turns somebody away."""
        with self._lock:
            full = len(self._open) >= MOST_CONNECTIONS
            oldest = next(iter(self._waiting), request) if full else None
            self._waiting.pop(oldest, None)
            self._open.discard(oldest)
            if oldest is not request:
                self._open.add(request)
        if oldest is not None:
            _turn_away(oldest)
        if oldest is request:
            self.shutdown_request(request)
        else:
            super().process_request(request, client_address)

    def shutdown_request(self, request):
        """Closes a connection."""
        with self._lock:
            self._open.discard(request)
            self._waiting.pop(request, None)
        super().shutdown_request(request)

    def wait(self, connection: socket.socket, waits: bool) -> None:
        """Notes whether a connection waits for its request to be whole."""
        with self._lock:
            self._waiting.pop(connection, None)
            if waits and connection in self._open:
                self._waiting[connection] = None

    def handle_error(self, request, client_address):
        """Says nothing of connections that broke."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Source(io.RawIOBase):
    """What a connection gives, for so many seconds and so many bytes."""

    def __init__(self, connection):
        self._connection = connection
        self._until, self._left = 0.0, 0

    def begin(self, seconds, size):
        """Begins both anew; `None` leaves the time as it is."""
        if seconds is not None:
            self._until = time.monotonic() + seconds
        self._left = size

    def readable(self):
        return True

    def readinto(self, buffer):
        left = self._until - time.monotonic()
        if self._left <= 0:
            message = f"The headers must have at most {MOST_HEADER_BYTES} bytes."
            raise Refused(431, message)
        try:
            self._connection.settimeout(max(left, 1e-3))
            size = self._connection.recv_into(memoryview(buffer)[: self._left])
        except TimeoutError as error:
            seconds = f"{FLAGS.read_seconds:g}"
            message = f"The whole request must come within {seconds} seconds."
            raise Refused(408, message) from error
        self._left -= size
        return size


class Handler(http.server.BaseHTTPRequestHandler):
    """Gives the page's files, and a model's answers under /v2/."""

    protocol_version = "HTTP/1.1"
    server_version = "tfhyper-page"
    sys_version = ""

    def __init__(self, model, *arguments):
        self._model = model
        super().__init__(*arguments)

    def setup(self):
        super().setup()
        self._source = _Source(self.connection)
        self.rfile = io.BufferedReader(self._source)

    def handle_one_request(self):
        self._source.begin(FLAGS.read_seconds, MOST_HEADER_BYTES)
        self.server.wait(self.connection, True)
        # For an answer to what is no request.
        self.requestline, self.command = "", ""
        self.request_version = self.protocol_version
        try:
            super().handle_one_request()
        except Refused as error:
            self._say(error)

    def do_GET(self):
        # What comes after it would be taken for the next request.
        if {"content-length", "transfer-encoding"} & {k.lower() for k in self.headers}:
            self.close_connection = True
        self._handle(lambda place: None)

    def do_POST(self):
        self._handle(self._body)

    def _handle(self, read):
        try:
            path = self.path.partition("?")[0]
            if ALLOWED[self.command].fullmatch(path):
                give_way = functools.partial(_turn_away, self.connection)
                with self.server.room.place(give_way) as place:
                    body = read(place)
                    if not place.work():
                        raise Refused(429, BUSY)
                    self.server.wait(self.connection, False)
                    found = self._model.answer(self.command, path, body)
                    del body
                    self._send(*found, TYPES[".json"])
            elif self.command == "GET" and not path.startswith("/v2/"):
                self._send_file(path.lstrip("/") or "index.html")
            else:
                raise Refused(404, f"{self.command} {short(path)} is not served here.")
        except (ConnectionError, TimeoutError):
            self.close_connection = True
        except Refused as error:
            self._say(error)
        except Exception as error:
            self.log_error("%r", error)
            self._say(Refused(500, "It failed; its log says why."))

    def _say(self, refused):
        """Answers with an error, and ends the connection."""
        self.close_connection = True
        message = json.dumps({"error": str(refused)}).encode()
        try:
            self._send(refused.status, message, TYPES[".json"])
            self._source.begin(DROP_SECONDS, DROPPED_BYTES)
            self.connection.shutdown(socket.SHUT_WR)
            while self.rfile.read1(1 << 16):
                pass
        except (Refused, OSError):
            pass  # enough was dropped, or it broke

    def _body(self, place):
        lengths = self.headers.get_all("Content-Length", [])
        if self.headers["Transfer-Encoding"] is not None or not lengths:
            raise Refused(411, "The request must say its length.")
        if len(lengths) > 1 or not re.fullmatch("[0-9]{1,18}", lengths[0]):
            raise Refused(400, "The Content-Length must be one number.")
        length = int(lengths[0])
        if length > MOST_BYTES:
            raise Refused(413, f"The body must have at most {MOST_BYTES} bytes.")
        self._source.begin(None, length)
        body = bytearray()
        while len(body) < length:
            piece = self.rfile.read1(min(length - len(body), 1 << 16))
            if not piece or not place.take(len(piece)):
                raise ConnectionError("it ended before its body did")
            body += piece
        return bytes(body)

    def _send_file(self, name):
        path = FOLDER / name
        # The files that lie there, and no way out of the folder.
        if path not in FOLDER.iterdir() or path.suffix not in TYPES:
            raise Refused(404, f"There is no {short(name)} here.")
        self._send(200, path.read_bytes(), TYPES[path.suffix])

    def _send(self, status, body, kind):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-cache")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header(
            "Content-Security-Policy", "default-src 'self'; img-src 'self' data:"
        )
        if self.close_connection:
            self.send_header("Connection", "close")
        self.connection.settimeout(WRITE_SECONDS)
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code="-", size="-"):
        """Says nothing of requests that went well."""
        if not str(code).startswith("2"):
            super().log_request(code, size)


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}")
    try:
        if FLAGS.saved_model:
            model = LocalModel(FLAGS.saved_model)
        else:
            model = Forwarder(FLAGS.server_url, FLAGS.timeout)
        address = (FLAGS.host, FLAGS.port)
        handler = functools.partial(Handler, model)
        server = BoundedServer(address, handler)
    except (ValueError, OSError, OverflowError) as error:
        sys.exit(f"error: {error}")
    host, port = server.server_address[:2]
    print(f"the page is at http://{host}:{port}/", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    app.run(main)
