"""Serves SavedModels over HTTP and gRPC, by the Open Inference Protocol.

python examples/serve/serve.py --model=models/fashion/1
python examples/serve/serve.py --repository=DIR
"""

import asyncio
import json
import logging
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from absl import app, flags
from bounds import Limits
from guards import GuardedServer
from mlserver.cli.serve import load_settings
from mlserver.logging import configure_logger
from mlserver.settings import ModelParameters, Settings
from mlserver.utils import install_uvloop_event_loop

HERE = pathlib.Path(__file__).resolve().parent

FLAGS = flags.FLAGS
flags.DEFINE_string(
    "repository",
    None,
    "Folder whose folders hold model-settings.json, one for each model; by default "
    "that of this script, with one model.",
)
flags.DEFINE_string(
    "model", None, "Folder of the SavedModel, instead of what the settings say."
)
flags.DEFINE_string(
    "settings",
    str(HERE / "settings.json"),
    "MLServer's settings, and under `limits` what a client may ask for.",
)
flags.DEFINE_string("host", None, "Address to listen at, instead of the settings'.")
for name in ("http_port", "grpc_port", "metrics_port"):
    flags.DEFINE_integer(name, None, "Port, instead of the settings'.", 1, 65535)


async def serve():
    repository = FLAGS.repository or str(HERE)
    _, models = await load_settings(repository)
    if FLAGS.model is not None:
        if len(models) != 1:
            raise app.UsageError("--model is for a repository of one model.")
        parameters = models[0].parameters or ModelParameters()
        parameters.uri = os.path.abspath(FLAGS.model)
        models[0].parameters = parameters
    entries = json.loads(pathlib.Path(FLAGS.settings).read_text())
    try:
        limits = Limits(**entries.pop("limits", {}))
    except (TypeError, ValueError) as error:
        raise app.UsageError(f"--settings={FLAGS.settings}: {error}") from error
    settings = Settings(**entries)
    settings.model_repository_root = repository
    for name in ("host", "http_port", "grpc_port", "metrics_port"):
        if FLAGS[name].value is not None:
            setattr(settings, name, FLAGS[name].value)
    await GuardedServer(settings, limits).start(models)


def main(argv):
    if len(argv) > 1:
        raise app.UsageError(f"Unknown arguments: {argv[1:]}")
    configure_logger()
    logging.getLogger("mlserver").propagate = False  # absl would write it again
    install_uvloop_event_loop()
    asyncio.run(serve())


if __name__ == "__main__":
    app.run(main)
