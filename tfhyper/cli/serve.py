"""The server and the page of examples/serve, which the package carries with it."""

import importlib.util
import pathlib
import runpy
import sys

from tfhyper.cli.scripting import DONE, FAILED, HELP, STOPPED

_ABOUT = """\
tfhyper serve --model=FOLDER [flags]
tfhyper serve --page --saved_model=FOLDER [flags]

Serves what `tfhyper export` wrote: over HTTP and gRPC by the Open Inference Protocol,
with MLServer, or with --page a page to look at, which needs TensorFlow alone. Serve
only what you made: a SavedModel is a program.

flags:
  --model: Folder of the SavedModel.
  --repository: Folder with one folder for each model, in place of --model.
  --settings: MLServer's settings, and under `limits` what a client may ask for.
  --host: Address to listen at.
  --http_port, --grpc_port, --metrics_port: Ports; 8080, 8081, 8082 by default.

flags with --page:
  --saved_model: Folder of the SavedModel to answer with.
  --server_url: A server that answers, in its place.
  --host, --port: Where to listen; 127.0.0.1, 8000 by default.
"""


def folder() -> pathlib.Path:
    """Returns where the server is: in the package, or beside it in a clone."""
    here = pathlib.Path(__file__).resolve().parent
    packed = here / "server"
    return packed if packed.is_dir() else here.parents[1] / "examples" / "serve"


def run(args: list[str]) -> int:
    """Serves until it is stopped, and returns the exit code.

    Args:
        args: flags of the server or, with --page, of the page.
    """
    if HELP & set(args):
        print(_ABOUT, end="")
        return DONE
    page = "--page" in args
    needed, extra = ("tensorflow", "") if page else ("mlserver", "[serve]")
    if importlib.util.find_spec(needed) is None:
        print(
            f'error: this needs {needed}: pip install "tfhyper{extra}" '
            "(MLServer is for Python before 3.13)",
            file=sys.stderr,
        )
        return FAILED
    script = folder() / ("page/serve_page.py" if page else "serve.py")
    sys.path.insert(0, str(script.parent))
    sys.argv = [str(script), *(arg for arg in args if arg != "--page")]
    try:
        runpy.run_path(str(script), run_name="__main__")
    except KeyboardInterrupt:
        return STOPPED
    except SystemExit as ended:
        if ended.code is None or isinstance(ended.code, int):
            return ended.code or DONE
        print(ended.code, file=sys.stderr)
        return FAILED
    return DONE
