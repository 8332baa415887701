"""Serves the page, and hands what it asks of a model on to a server.

python examples/serve/page/serve_page.py --server_url=http://127.0.0.1:8080
python examples/serve/page/serve_page.py --saved_model=models/fashion/1

The first needs a server of the Open Inference Protocol, version 2, such as MLServer,
and only the standard library and absl here. The second needs TensorFlow, and answers
itself, with what `tfhyper.export.saved_model` wrote. Neither needs Keras or tfhyper.

It is for one's own machine: there are no passwords. Of the server it shows what the
page needs, to read and to predict, and nothing that loads or unloads models.
"""

import functools
import http.client
import http.server
import json
import os
import pathlib
import re
import sys
import urllib.error
import urllib.parse
import urllib.request

from absl import app, flags
from local_model import LocalModel, Refused, short

FLAGS = flags.FLAGS
flags.DEFINE_string("server_url", "http://127.0.0.1:8080", "Server that predicts.")
flags.DEFINE_string("saved_model", None, "A SavedModel to answer with, in its place.")
flags.DEFINE_string("host", "127.0.0.1", "Address to listen on.")
flags.DEFINE_integer("port", 8000, "Port to listen on; 0 for any that is free.", 0)
flags.DEFINE_float("timeout", 30, "Seconds that the server has for an answer.", 0.1)

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
MOST_ANSWER_BYTES = 64 << 20


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
        # A proxy of the environment's is for the outside world.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def answer(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        """Returns status and JSON; raises Refused without an answer."""
        request = urllib.request.Request(
            self._url + path,
            data=body,
            method=method,
            headers={"Content-Type": "application/json"},
        )
        try:
            with self._open(request) as response:
                answer = response.read(MOST_ANSWER_BYTES + 1)
        except TimeoutError as error:
            raise Refused(
                504, f"The model server took more than {self._timeout:g} seconds."
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise Refused(
                502, f"The model server at {self._url} does not answer: {error}"
            ) from error
        if len(answer) > MOST_ANSWER_BYTES:
            raise Refused(502, "The model server's answer is too large.")
        return response.status, answer

    def _open(self, request):
        try:
            return self._opener.open(request, timeout=self._timeout)
        except urllib.error.HTTPError as error:
            return error  # an answer, with another status


class Handler(http.server.BaseHTTPRequestHandler):
    """Gives the page's files, and a model's answers under /v2/."""

    protocol_version = "HTTP/1.1"
    server_version = "tfhyper-page"
    sys_version = ""
    timeout = 60  # of a connection that says nothing

    def __init__(self, model, *arguments):
        self._model = model
        super().__init__(*arguments)

    def do_GET(self):
        self._handle(None)

    def do_POST(self):
        self._handle(self._body)

    def _handle(self, body):
        try:
            path = self.path.partition("?")[0]
            if ALLOWED[self.command].fullmatch(path):
                found = self._model.answer(self.command, path, body and body())
                self._send(*found, TYPES[".json"])
            elif self.command == "GET" and not path.startswith("/v2/"):
                self._send_file(path.lstrip("/") or "index.html")
            else:
                raise Refused(404, f"{self.command} {short(path)} is not served here.")
        except Refused as error:
            self.close_connection = True
            message = json.dumps({"error": str(error)}).encode()
            self._send(error.status, message, TYPES[".json"])
        except (ConnectionError, TimeoutError):
            self.close_connection = True
        except Exception as error:
            self.log_error("%r", error)
            self.close_connection = True
            message = json.dumps({"error": "It failed; its log says why."}).encode()
            self._send(500, message, TYPES[".json"])

    def _body(self):
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            raise Refused(411, "The request must say its length.")
        length = int(length)
        if length > MOST_BYTES:
            # Read, within reason: who is still sending would not see the answer.
            self.rfile.read(min(length, 8 * MOST_BYTES))
            raise Refused(413, f"The body must have at most {MOST_BYTES} bytes.")
        return self.rfile.read(length)

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
        server = http.server.ThreadingHTTPServer(address, handler)
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
