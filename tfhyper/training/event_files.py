"""Event files for TensorBoard, written without TensorFlow."""

import itertools
import os
import socket
import time
from typing import Any

import numpy as np

# Files of one process in one second have names of their own.
_NUMBERS = itertools.count()


class EventFile:
    """Writes scalars and histograms of one training into a file of its own.

    TensorBoard reads all files of a folder together. Each file begins with the step at
    which it takes up: what another file has from that step on, of a training that was
    stopped and goes on, is not shown.

    Args:
        log_dir: the folder, which is made if it is not there.
        first_step: int >= 0, the least step that will be written.

    Raises:
        ImportError: if TensorBoard is not installed.
    """

    def __init__(self, log_dir: str | os.PathLike, first_step: int):
        protos = _tensorboard()
        os.makedirs(log_dir, exist_ok=True)
        name = f"{time.time():.0f}.{socket.gethostname()}.{os.getpid()}"
        name = f"events.out.tfevents.{name}.{next(_NUMBERS)}"
        self._file = open(os.path.join(log_dir, name), "xb")  # noqa: SIM115
        self._protos, self._writer = protos, protos.RecordWriter(self._file)
        self._write(file_version="brain.Event:2")
        start = protos.SessionLog(status=protos.SessionLog.START)
        self._write(session_log=start, step=first_step)

    def scalar(self, name: str, value: float, step: int) -> None:
        """Writes a number."""
        self._write(summary=self._protos.scalar_pb(name, float(value)), step=step)

    def histogram(
        self, name: str, edges: np.ndarray, heights: np.ndarray, step: int, words: str
    ) -> None:
        """Writes a histogram.

        Args:
            name: its name.
            edges: (bins + 1,), increasing.
            heights: (bins,).
            step: int >= 0.
            words: what it shows, in Markdown.
        """
        protos = self._protos
        table = np.stack([edges[:-1], edges[1:], heights], axis=1).astype(np.float64)
        metadata = protos.histogram_metadata(display_name=None, description=words)
        summary = protos.Summary()
        summary.value.add(
            tag=name, metadata=metadata, tensor=protos.make_tensor_proto(table)
        )
        self._write(summary=summary, step=step)

    def flush(self) -> None:
        """Lets TensorBoard see what was written."""
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _write(self, **content: Any) -> None:
        event = self._protos.Event(wall_time=time.time(), **content)
        self._writer.write(event.SerializeToString())


class _Protos:
    """What TensorBoard brings, imported when it is needed."""

    def __init__(self) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.plugins.histogram import metadata
        from tensorboard.plugins.scalar import summary_v2
        from tensorboard.summary.writer import record_writer
        from tensorboard.util import tensor_util

        self.Event, self.SessionLog = event_pb2.Event, event_pb2.SessionLog
        self.Summary = summary_pb2.Summary
        self.RecordWriter = record_writer.RecordWriter
        self.scalar_pb = summary_v2.scalar_pb
        self.histogram_metadata = metadata.create_summary_metadata
        self.make_tensor_proto = tensor_util.make_tensor_proto


def _tensorboard() -> _Protos:
    try:
        return _Protos()
    except ImportError as missing:
        raise ImportError(
            "Event files need TensorBoard. Install it with "
            "`pip install tfhyper[tensorboard]`."
        ) from missing
