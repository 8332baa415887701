"""A server on free ports of this machine, for as long as a test or benchmark lasts."""

import contextlib
import dataclasses
import http.client
import json
import os
import pathlib
import socket
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).parent
PORTS = ("http_port", "grpc_port", "metrics_port")
SECONDS_TO_START = 180


@dataclasses.dataclass
class LocalServer:
    """A server that was started; `log` is the file it writes."""

    process: subprocess.Popen
    log: pathlib.Path
    http_port: int
    grpc_port: int
    metrics_port: int

    def connect(self) -> http.client.HTTPConnection:
        """Returns a connection to its HTTP port."""
        return http.client.HTTPConnection("127.0.0.1", self.http_port, 60)

    def metrics(self) -> dict:
        """Returns what Prometheus would read: name with labels -> number."""
        connection = http.client.HTTPConnection("127.0.0.1", self.metrics_port, 60)
        with contextlib.closing(connection):
            connection.request("GET", "/metrics")
            lines = connection.getresponse().read().decode().splitlines()
        pairs = [line.rsplit(" ", 1) for line in lines if not line.startswith("#")]
        return {name: float(value) for name, value in pairs}


def write_repository(folder: pathlib.Path, models: dict) -> None:
    """Makes a folder that the server takes models from: name -> SavedModel."""
    path = HERE / "models" / "fashion" / "model-settings.json"
    for name, model in models.items():
        settings = json.loads(path.read_text())
        settings["name"] = name
        settings["parameters"]["uri"] = str(model)
        (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / name / path.name).write_text(json.dumps(settings))


@contextlib.contextmanager
def serving(repository: pathlib.Path, wait_for: str, **limits):
    """Gives a `LocalServer` of a repository, once the model `wait_for` is ready.

    Args:
        repository: what `write_repository` made.
        wait_for: name of a model.
        limits: what takes the place of settings.json's `limits`.

    Raises:
        RuntimeError: if it does not start, or ended before it was told to.
    """
    log = repository / "server.log"
    sockets = [socket.socket() for _ in PORTS]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = {k: x.getsockname()[1] for k, x in zip(PORTS, sockets, strict=True)}
    for each in sockets:
        each.close()
    settings = json.loads((HERE / "settings.json").read_text())
    settings["limits"].update(limits)
    path = repository / "server.json"  # settings.json is MLServer's own name
    path.write_text(json.dumps(settings))
    command = [sys.executable, str(HERE / "serve.py"), f"--repository={repository}"]
    command.append(f"--settings={path}")
    # As on a machine without tfhyper.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    with open(log, "w") as output:
        process = subprocess.Popen(
            [*command, *(f"--{name}={port}" for name, port in ports.items())],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=repository,
            env=environment,
        )
    server = LocalServer(process, log, **ports)
    try:
        _wait(server, wait_for)
        yield server
        if process.poll() is not None:
            raise RuntimeError(f"The server ended: {log.read_text()[-4000:]}")
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(server, model):
    until = time.monotonic() + SECONDS_TO_START
    while time.monotonic() < until and server.process.poll() is None:
        with contextlib.closing(server.connect()) as connection:
            try:
                connection.request("GET", f"/v2/models/{model}/ready")
                if connection.getresponse().status == 200:
                    return
            except OSError:  # nothing listens yet
                pass
        time.sleep(0.2)
    raise RuntimeError(f"The server does not start: {server.log.read_text()[-4000:]}")
