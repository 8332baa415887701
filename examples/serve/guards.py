"""MLServer, for clients that nobody knows.

Of itself it takes bodies of any size, unpacks whatever is compressed, waits for slow
clients for ever, lets every client unload its models, and calls some malformed requests
its own failure. It has no settings for that, so that this, `http_guards` and
`grpc_guards` reach into what is MLServer's own: requirements.txt holds the version for
which they were written.
"""

import logging

import counters
from bounds import Limits
from grpc_guards import BoundedGRPCServer, no_refusals
from http_guards import guard_app, guard_config
from mlserver import MLServer
from mlserver.errors import MLServerError
from mlserver.handlers import ModelRepositoryHandlers
from mlserver.settings import Settings
from validation import Refused

# Longer ones, or those that are no text of ASCII, do not fit into a header.
MAX_ID = 128


class GuardedServer(MLServer):
    """MLServer with limits; HTTP bodies are as long as gRPC messages may be.

    Args:
        settings: MLServer's.
        limits: what a client may ask for.
    """

    def __init__(self, settings: Settings, limits: Limits):
        self._limits = limits
        super().__init__(settings)

    def _create_servers(self):
        self._data_plane.infer = _guarded(self._data_plane)
        self._model_repository_handlers = IndexOnly(
            self._model_repository, self._model_registry
        )
        super()._create_servers()
        self._grpc_server = BoundedGRPCServer(
            self._settings,
            self._data_plane,
            self._model_repository_handlers,
            limits=self._limits,
        )
        size = self._settings.grpc_max_message_length
        guard_app(self._rest_server._app, self._data_plane, self._limits, size)
        for server in (self._rest_server, self._metrics_server):
            if server is not None:
                _guard_connections(server, self._limits)

    async def start(self, models_settings=()):
        """Serves until it is told to stop."""
        logging.getLogger("mlserver.grpc").addFilter(no_refusals)
        await super().start(list(models_settings))


class IndexOnly(ModelRepositoryHandlers):
    """Says what models there are; who runs the server says which."""

    async def load(self, name):
        """Refuses."""
        raise Refused("repository", "Models are not loaded by clients.", 403)

    async def unload(self, name):
        """Refuses."""
        raise Refused("repository", "Models are not unloaded by clients.", 403)


def _guard_connections(server, limits):
    configure = server._get_config
    server._get_config = lambda: guard_config(configure(), limits)


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
