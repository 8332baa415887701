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
import math
import os
import pathlib
import re
import sys
import urllib.error
import urllib.parse
import urllib.request

from absl import app, flags

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
    "GET": re.compile(r"/v2/(health/(live|ready)|models/[\w.%-]+(/ready)?)"),
    "POST": re.compile(r"/v2/(repository/index|models/[\w.%-]+/infer)"),
}
MOST_BYTES = 4 << 20  # as ../settings.json has it
MOST_ANSWER_BYTES = 64 << 20
DATATYPES = {"uint8": "UINT8", "int64": "INT64", "float32": "FP32"}


class Refused(Exception):
    """A request that gets an error: its status and what is wrong, in words."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


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
            with self._opener.open(request, timeout=self._timeout) as response:
                return response.status, self._read(response)
        except urllib.error.HTTPError as error:
            return error.code, self._read(error)
        except TimeoutError as error:
            raise Refused(
                504, f"The model server took more than {self._timeout:g} seconds."
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise Refused(
                502, f"The model server at {self._url} does not answer: {error}"
            ) from error

    def _read(self, response):
        answer = response.read(MOST_ANSWER_BYTES + 1)
        if len(answer) > MOST_ANSWER_BYTES:
            raise Refused(502, "The model server's answer is too large.")
        return answer


class Predictor:
    """Answers with a SavedModel, as a server would.

    Args:
        path: its folder. The model's name is its last part, or the one before if
            that is a version: "fashion" of "models/fashion/1".
    """

    def __init__(self, path: str):
        import numpy as np
        import tensorflow as tf

        if not tf.saved_model.contains_saved_model(path):
            raise ValueError(
                f"--saved_model must hold a SavedModel. Received: --saved_model={path}"
            )
        self._np, self._tf = np, tf
        folder = pathlib.Path(path).resolve()
        self.name = folder.parent.name if folder.name.isdigit() else folder.name
        # Signatures do not keep their variables: the object that has them must stay.
        self._loaded = tf.saved_model.load(str(folder))
        signatures = self._loaded.signatures
        missing = {"serving_default", "members"} - set(signatures)
        if missing:
            raise ValueError(
                "--saved_model must have the signatures of a classifier that "
                f"tfhyper exports: {sorted(missing)} are missing"
            )
        self._functions = [signatures["serving_default"], signatures["members"]]
        self._inputs = self._functions[0].structured_input_signature[1]
        self._outputs = {
            name: (function, spec)
            for function in self._functions
            for name, spec in function.structured_outputs.items()
        }
        names = []
        if "metadata" in signatures:
            names = signatures["metadata"]()["class_names"].numpy().tolist()
        self._class_names = [name.decode() for name in names]

    def answer(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        """Returns status and JSON; raises Refused for a bad request."""
        if path == "/v2/repository/index":
            found = [{"name": self.name, "state": "READY", "reason": ""}]
        elif path.startswith("/v2/health/"):
            found = {}
        else:
            name, _, action = path.removeprefix("/v2/models/").partition("/")
            if urllib.parse.unquote(name) != self.name:
                raise Refused(404, f"There is no model {_short(name)} here.")
            if action == "infer":
                found = self._infer(body)
            else:
                found = self._metadata() if not action else {"ready": True}
        return 200, json.dumps(found).encode()

    def _metadata(self):
        return {
            "name": self.name,
            "platform": "tensorflow_savedmodel",
            "inputs": [_describe(*entry) for entry in self._inputs.items()],
            "outputs": [_describe(n, spec) for n, (_, spec) in self._outputs.items()],
            "parameters": {"class_names": self._class_names or None},
        }

    def _infer(self, body):
        request = _read_json(body)
        inputs = request.get("inputs")
        if not isinstance(inputs, list) or not all(isinstance(i, dict) for i in inputs):
            raise Refused(400, "`inputs` must be a list of tensors.")
        given = {str(entry.get("name")): entry for entry in inputs}
        if set(given) != set(self._inputs) or len(given) != len(inputs):
            raise Refused(
                400,
                f"`inputs` must be {sorted(self._inputs)}, each once. Received: "
                f"{len(inputs)} inputs, {_short(list(given))}",
            )
        tensors = {
            name: self._tf.constant(self._read(given[name], name, spec))
            for name, spec in self._inputs.items()
        }
        outputs = request.get("outputs")
        if outputs is None:
            wanted = list(self._functions[0].structured_outputs)
        else:
            try:
                wanted = [str(entry["name"]) for entry in outputs]
            except (TypeError, KeyError) as error:
                raise Refused(
                    400, "`outputs` must be a list of objects with names."
                ) from error
        unknown = set(wanted) - set(self._outputs)
        if unknown:
            raise Refused(
                400,
                f"`outputs` must be among {sorted(self._outputs)}. Received: "
                f"{_short(sorted(unknown))}",
            )
        found = {}
        for function in self._functions:
            if set(wanted) & set(function.structured_outputs):
                found.update(function(**tensors))
        values = [(name, found[name].numpy()) for name in wanted]
        return {
            "model_name": self.name,
            "outputs": [
                {
                    "name": name,
                    "datatype": DATATYPES[value.dtype.name],
                    "shape": list(value.shape),
                    "data": value.ravel().tolist(),
                }
                for name, value in values
            ],
        }

    def _read(self, entry, name, spec):
        datatype = DATATYPES[spec.dtype.name]
        if entry.get("datatype") != datatype:
            raise Refused(
                400,
                f"The datatype of `{name}` must be {datatype}. Received: "
                f"{_short(entry.get('datatype'))}",
            )
        shape, expected = entry.get("shape"), spec.shape.as_list()
        fits = (
            isinstance(shape, list)
            and len(shape) == len(expected)
            and all(type(size) is int and size > 0 for size in shape)
            and all(e in (None, size) for e, size in zip(expected, shape))
        )
        if not fits:
            raise Refused(
                400,
                f"The shape of `{name}` must be [batch, "
                f"{', '.join(map(str, expected[1:]))}]. Received: {_short(shape)}",
            )
        try:
            array = self._np.asarray(entry.get("data"), "float64").ravel()
        except (TypeError, ValueError, OverflowError) as error:
            raise Refused(400, f"`{name}` must hold numbers alone.") from error
        if array.size != math.prod(shape):
            raise Refused(
                400,
                f"The data of `{name}` must be {math.prod(shape)} numbers. "
                f"Received: {array.size}",
            )
        if not self._np.isfinite(array).all():
            raise Refused(400, f"`{name}` must hold finite numbers.")
        if datatype == "UINT8" and not (self._np.uint8(array % 256) == array).all():
            raise Refused(400, f"`{name}` must hold whole numbers of 0 to 255.")
        return array.reshape(shape).astype(spec.dtype.as_numpy_dtype)


def _describe(name, spec):
    shape = [-1 if size is None else size for size in spec.shape.as_list()]
    return {"name": name, "datatype": DATATYPES[spec.dtype.name], "shape": shape}


def _short(value):
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}..."


def _read_json(body):
    try:
        request = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"The body must be JSON. Received: {error}") from error
    if not isinstance(request, dict):
        raise Refused(400, "The body must be a JSON object.")
    return request


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
                raise Refused(404, f"{self.command} {_short(path)} is not served here.")
        except Refused as error:
            self.close_connection = True
            message = json.dumps({"error": str(error)}).encode()
            self._send(error.status, message, TYPES[".json"])
        except ConnectionError:
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
            for _ in range(min(length // MOST_BYTES, 8)):
                self.rfile.read(MOST_BYTES)
            raise Refused(413, f"The body must have at most {MOST_BYTES} bytes.")
        return self.rfile.read(length)

    def _send_file(self, name):
        path = FOLDER / name
        # The files that lie there, and no way out of the folder.
        if path not in FOLDER.iterdir() or path.suffix not in TYPES:
            raise Refused(404, f"There is no {_short(name)} here.")
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
            model = Predictor(FLAGS.saved_model)
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
