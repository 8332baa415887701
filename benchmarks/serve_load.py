r"""The server of examples/serve under load, on one machine.

    python benchmarks/serve_load.py

Eight clients, six by HTTP and two by gRPC, ask at the same time, each one request
after the other: up to four test images, for the mean or for the members, and one
request in twenty is malformed in one of nine ways. Every answer is compared with what
the SavedModel gives in this process; a malformed request must be refused, by a status
of 4xx or INVALID_ARGUMENT. The memory is that of the server's process. Needs
`pip install -e ".[serve]"`.

    python benchmarks/serve_load.py --attack=2000 --requests=2000 \
        --output=benchmarks/results/serve_attack.json --figure=

Beside them 24 clients send the hostile requests of `examples/serve/attack.py`, of about
a hundred kinds; each must be refused by a status that its kind allows.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import collections
import concurrent.futures
import dataclasses
import json
import pathlib
import random
import sys
import tempfile
import threading
import time

import grpc
import keras
import numpy as np
import tensorflow as tf
from absl import app, flags, logging
from mlserver.grpc import dataplane_pb2 as pb
from mlserver.grpc.dataplane_pb2_grpc import GRPCInferenceServiceStub
from report import markdown_table, provenance, write_figure, write_json

import tfhyper
from tfhyper import export, kits, models, training

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "examples" / "serve"))
import attack
from local_server import serving, write_repository

FLAGS = flags.FLAGS
flags.DEFINE_integer("requests", 10_000, "Requests, of all clients together.", 1)
flags.DEFINE_integer("http_clients", 6, "Clients by HTTP.", 0)
flags.DEFINE_integer("grpc_clients", 2, "Clients by gRPC.", 0)
flags.DEFINE_float("malformed", 0.05, "Share of malformed requests.", 0, 1)
flags.DEFINE_integer("attack", 0, "Hostile requests beside them.", 0)
flags.DEFINE_integer("draws", 16, "Draws of the predictor.", 1)
flags.DEFINE_integer("epochs", 2, "Epochs of the training.", 1)
flags.DEFINE_integer("train_examples", None, "Training images; all by default.", 1)
flags.DEFINE_string("output", "benchmarks/results/serve_load.json", "The JSON.")
flags.DEFINE_string(
    "figure", "benchmarks/results/serve_load.png", "The figure; or none."
)

SET, NAME = "fashion_mnist_small", "fashion"
TOLERANCE = 1e-5
# Share of the time after which caches are full.
WARM = 0.2
SAMPLE_SECONDS = 0.25
ATTACKERS = 24
# Settings while there is an attack: much of it is to be late.
LATE = {"read_seconds": 5, "write_seconds": 5}


@dataclasses.dataclass
class Answer:
    """What became of a request; `difference` is of one that was answered."""

    protocol: str
    malformed: str | None
    start: float
    seconds: float
    status: str
    difference: float = 0.0


def export_model(path):
    """Trains WRN-10-1 a little, exports its draws, and returns images of bytes."""
    keras.utils.set_random_seed(0)
    data = tfhyper.data.load(SET, batch_size=128, train_examples=FLAGS.train_examples)
    kit = kits.hyper(mean_kernel=True, deviation_scale=0.3)
    model = models.wide_resnet(10, 1, input_shape=(28, 28, 1), kit=kit)
    training.compile_recipe(model, FLAGS.epochs, data.steps_per_epoch)
    for epoch in range(FLAGS.epochs):
        model.fit(data.epoch(epoch), verbose=0)
    predictor = tfhyper.PosteriorPredictor(model, FLAGS.draws)
    predictor.estimate_batch_norm(data.epoch(0), verbose=0)
    spec = data.spec
    preprocessing = export.Preprocessing(spec.mean, spec.std)
    export.saved_model(
        predictor, path, preprocessing=preprocessing, class_names=spec.class_names
    )
    images = tfhyper.data.load_arrays(SET)[1][0][:256]
    return np.rint((images * spec.std + spec.mean) * 255).astype("uint8")


def expected_answers(path, images):
    """Returns signature -> output -> array, computed in this process."""
    loaded = tf.saved_model.load(str(path))
    return {
        name: {
            key: value.numpy()
            for key, value in loaded.signatures[name](inputs=images).items()
        }
        for name in ("serving_default", "members")
    }


def http_body(images, signature):
    tensor = {
        "name": "inputs",
        "datatype": "UINT8",
        "shape": list(images.shape),
        "data": images.ravel().tolist(),
    }
    return {"inputs": [tensor], "parameters": {"signature": signature}}


def grpc_message(images, signature):
    tensor = {"name": "inputs", "datatype": "UINT8", "shape": images.shape}
    message = pb.ModelInferRequest(model_name=NAME)
    message.inputs.append(pb.ModelInferRequest.InferInputTensor(**tensor))
    message.raw_input_contents.append(images.tobytes())
    message.parameters["signature"].string_param = signature
    return message


def _change(**entries):
    def change(body):
        body["inputs"][0].update(entries)
        return json.dumps(body).encode()

    return change


# Name -> what makes bytes of a good request that are malformed.
HTTP_FAULTS = {
    "truncated": lambda body: json.dumps(body).encode()[:-5],
    "not UTF-8": lambda body: b"\xff\xfe" + json.dumps(body).encode(),
    "too large": lambda body: b" " * (2**22 + 1),
    "shape": _change(shape=[1, 28, 28, 3]),
    "huge shape": _change(shape=[2**62, 28, 28, 1]),
    "datatype": _change(datatype="FP32"),
    "range": _change(shape=[1, 28, 28, 1], data=[256] * 784),
    "NaN": _change(shape=[1, 28, 28, 1], data=[float("nan")] * 784),
    "signature": lambda body: json.dumps(
        {**body, "parameters": {"signature": "train"}}
    ).encode(),
}


def _short(message):
    message.raw_input_contents[0] = message.raw_input_contents[0][:-1]


def _shape(message):
    message.inputs[0].shape[1] = 2**40


def _datatype(message):
    message.inputs[0].datatype = "CATS"


def _signature(message):
    message.parameters["signature"].string_param = "train"


# Name -> what spoils a message.
GRPC_FAULTS = {
    "truncated": _short,
    "huge shape": _shape,
    "datatype": _datatype,
    "signature": _signature,
}


class Client(threading.Thread):
    """Asks, one request after the other, and keeps what became of them.

    Args:
        server: the `LocalServer`.
        images: what to ask about.
        expected: what `expected_answers` returned.
        count: how many requests.
        seed: of its choices.
    """

    def __init__(self, server, images, expected, count, seed):
        super().__init__()
        self._images, self._expected, self._count = images, expected, count
        self._random = random.Random(seed)
        self.answers, self.error = [], None
        self._connect(server)

    def run(self):
        """Asks all requests."""
        try:
            for _ in range(self._count):
                self.answers.append(self._ask())
        except Exception as error:  # of a thread: told at the end
            self.error = error

    def _ask(self):
        choose = self._random
        size = choose.randint(1, 4)
        first = choose.randrange(len(self._images) - size)
        rows = slice(first, first + size)
        signature = "members" if choose.random() < 0.2 else "serving_default"
        fault = None
        if choose.random() < FLAGS.malformed:
            fault = choose.choice(sorted(self.faults))
        request = self._make(self._images[rows], signature, fault)
        start = time.monotonic()
        status, content = self._send(request)
        answer = Answer(
            self.protocol, fault, start, time.monotonic() - start, str(status)
        )
        if status == self.good:
            found = self._outputs(content)
            wanted = self._expected[signature]
            if found.keys() != wanted.keys():
                answer.difference = np.inf
            for key in found.keys() & wanted.keys() - {"class"}:
                difference = np.abs(found[key] - wanted[key][rows]).max()
                answer.difference = max(answer.difference, float(difference))
            if "class" in found:
                # Of classes alike to the last digits either may be the first.
                chosen = np.take_along_axis(
                    wanted["probabilities"][rows], found["class"][:, None], -1
                )[:, 0]
                difference = wanted["probabilities"][rows].max(-1) - chosen
                answer.difference = max(answer.difference, float(difference.max()))
        return answer


class HttpClient(Client):
    """A client by HTTP, with one connection."""

    protocol, good, faults = "HTTP", 200, HTTP_FAULTS

    def _connect(self, server):
        self._connection = server.connect()

    def _make(self, images, signature, fault):
        body = http_body(images, signature)
        return HTTP_FAULTS[fault](body) if fault else json.dumps(body).encode()

    def _send(self, body):
        try:
            return self._send_once(body)
        except ConnectionError:
            # It was closed because nothing came for some seconds.
            self._connection.close()
            return self._send_once(body)

    def _send_once(self, body):
        headers = {"Content-Type": "application/json"}
        self._connection.request("POST", f"/v2/models/{NAME}/infer", body, headers)
        answer = self._connection.getresponse()
        return answer.status, answer.read()

    def _outputs(self, content):
        return {
            x["name"]: np.reshape(x["data"], x["shape"])
            for x in json.loads(content)["outputs"]
        }


class GrpcClient(Client):
    """A client by gRPC."""

    protocol, good, faults = "gRPC", grpc.StatusCode.OK, GRPC_FAULTS

    def _connect(self, server):
        channel = grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}")
        self._stub = GRPCInferenceServiceStub(channel)

    def _make(self, images, signature, fault):
        message = grpc_message(images, signature)
        if fault:
            GRPC_FAULTS[fault](message)
        return message

    def _send(self, message):
        try:
            return grpc.StatusCode.OK, self._stub.ModelInfer(message, timeout=60)
        except grpc.RpcError as error:
            return error.code(), None

    def _outputs(self, content):
        dtypes = {"FP32": "float32", "INT64": "int64"}
        pairs = zip(content.outputs, content.raw_output_contents, strict=True)
        return {
            x.name: np.frombuffer(raw, dtypes[x.datatype]).reshape(x.shape)
            for x, raw in pairs
        }


def sample_memory(pid, samples, stop):
    """Adds (time, MiB resident) to a list until it is told to stop."""
    while not stop.wait(SAMPLE_SECONDS):
        with open(f"/proc/{pid}/status") as file:
            (line,) = (line for line in file if line.startswith("VmRSS:"))
        samples.append((time.monotonic(), int(line.split()[1]) / 1024))


def is_refusal(status):
    """Whether a status says that the client is to blame."""
    return status.startswith("4") or status == "StatusCode.INVALID_ARGUMENT"


def summarize(answers, memory, seconds):
    """Returns what is written of a run."""
    good = [x for x in answers if x.malformed is None]
    bad = [x for x in answers if x.malformed is not None]
    successes = {"200", "StatusCode.OK"}
    answered = [x for x in good if x.status in successes]
    latency = {}
    for protocol in sorted({x.protocol for x in good}):
        times = [1000 * x.seconds for x in good if x.protocol == protocol]
        p50, p90, p99 = np.percentile(times, [50, 90, 99])
        latency[protocol] = {"p50": p50, "p90": p90, "p99": p99, "max": max(times)}
    faults = collections.defaultdict(collections.Counter)
    for x in bad:
        faults[f"{x.protocol}, {x.malformed}"][x.status] += 1
    since = answers[0].start + WARM * seconds
    times, sizes = np.array([pair for pair in memory if pair[0] >= since]).T
    tenth = max(len(sizes) // 10, 1)
    slope = np.polyfit(times, sizes, 1)[0] if len(sizes) > 1 else 0.0
    return {
        "requests": len(answers),
        "seconds": seconds,
        "requests_per_second": len(answers) / seconds,
        "good": {
            "requests": len(good),
            "answered": len(answered),
            "statuses": collections.Counter(x.status for x in good),
            "largest_difference": max((x.difference for x in answered), default=0.0),
            "wrong_answers": sum(x.difference > TOLERANCE for x in answered),
        },
        "malformed": {
            "requests": len(bad),
            "refused": sum(is_refusal(x.status) for x in bad),
            "statuses": faults,
        },
        "latency_ms": latency,
        "memory_mib": {
            "after_warm_up": float(np.median(sizes[:tenth])),
            "at_the_end": float(np.median(sizes[-tenth:])),
            "slope_per_1000_requests": slope * seconds / len(answers) * 1000,
        },
    }


def draw(answers, memory, path):
    """Draws latency and memory by time."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    begin = answers[0].start
    figure, (upper, lower) = plt.subplots(2, 1, sharex=True, figsize=(7, 5))
    for protocol, color in (("HTTP", "tab:blue"), ("gRPC", "tab:orange")):
        points = [
            (x.start - begin, 1000 * x.seconds)
            for x in answers
            if x.protocol == protocol and x.malformed is None
        ]
        if not points:
            continue
        times, latency = np.array(points).T
        bins = np.array_split(np.argsort(times), min(60, len(times)))
        middle = [times[rows].mean() for rows in bins]
        median = [np.median(latency[rows]) for rows in bins]
        upper.plot(middle, median, color=color, label=f"{protocol}, median")
        high = [np.percentile(latency[rows], 99) for rows in bins]
        upper.plot(middle, high, color=color, alpha=0.4, label=f"{protocol}, p99")
    upper.set_ylabel("latency, ms")
    upper.set_ylim(bottom=0)
    upper.legend(fontsize="small", ncols=2)
    times, sizes = np.array(memory).T
    lower.plot(times - begin, sizes, color="tab:green")
    lower.set_ylim(0, 1.1 * sizes.max())
    lower.set_ylabel("memory of the server, MiB")
    lower.set_xlabel("seconds")
    figure.tight_layout()
    write_figure(path, figure)


def attack_server(server):
    """Returns what became of the hostile requests, and the server's memory."""
    memory = attack.Memory(server.process.pid)
    idle = memory.now
    options = [("grpc.max_send_message_length", -1)]
    address = f"127.0.0.1:{server.grpc_port}"
    with grpc.insecure_channel(address, options) as channel:
        kinds = attack.kinds_for(server.http_port, server.grpc_port, channel)
        found = attack.attack(*kinds, FLAGS.attack, ATTACKERS)
    return {
        "requests": FLAGS.attack,
        "clients": ATTACKERS,
        "seconds": found.seconds,
        "kinds": len(found.statuses),
        "unexpected": found.unexpected,
        "memory_mib": {"idle": idle / 2**20, "most": memory.most / 2**20},
        "statuses": {
            kind: {str(status): count for status, count in statuses.items()}
            for kind, statuses in sorted(found.statuses.items())
        },
    }


def warm_up(server, images, expected):
    """Asks as many good and bad requests as make the caches full."""
    for kind, seed in ((HttpClient, 100), (GrpcClient, 101)):
        client = kind(server, images, expected, 200, seed)
        client.run()
        if client.error is not None:
            raise client.error


def run(folder):
    """Returns answers, memory samples, seconds, images per batch, and of an attack."""
    saved = folder / "saved_model" / "1"
    images = export_model(saved)
    expected = expected_answers(saved, images)
    write_repository(folder / "repository", {NAME: saved})
    kinds = [HttpClient] * FLAGS.http_clients + [GrpcClient] * FLAGS.grpc_clients
    if not kinds:
        raise app.UsageError("There must be a client.")
    shares = [len(x) for x in np.array_split(np.arange(FLAGS.requests), len(kinds))]
    memory, stop = [], threading.Event()
    limits = LATE if FLAGS.attack else {}
    with (
        serving(folder / "repository", wait_for=NAME, **limits) as server,
        concurrent.futures.ThreadPoolExecutor(1) as pool,
    ):
        if FLAGS.attack:
            warm_up(server, images, expected)
        clients = [
            kind(server, images, expected, count, seed)
            for seed, (kind, count) in enumerate(zip(kinds, shares, strict=True))
        ]
        sampler = threading.Thread(
            target=sample_memory, args=(server.process.pid, memory, stop)
        )
        sampler.start()
        start = time.monotonic()
        hostile = pool.submit(attack_server, server) if FLAGS.attack else None
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        seconds = time.monotonic() - start
        stop.set()
        sampler.join()
        for client in clients:
            if client.error is not None:
                raise client.error
        attacked = hostile and hostile.result()
        metrics = server.metrics()
    answers = [answer for client in clients for answer in client.answers]
    batch = f'{{model="{NAME}"}}'
    per_batch = (
        metrics[f"tfhyper_batch_images_sum{batch}"]
        / metrics[f"tfhyper_batch_images_count{batch}"]
    )
    return sorted(answers, key=lambda x: x.start), memory, seconds, per_batch, attacked


def main(_):
    logging.set_verbosity(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        answers, memory, seconds, per_batch, attacked = run(pathlib.Path(folder))
    summary = summarize(answers, memory, seconds)
    summary["images_per_batch"] = per_batch
    if attacked:
        summary["attack"] = attacked
    settings = {
        name: FLAGS[name].value
        for name in ("http_clients", "grpc_clients", "malformed", "draws", "epochs")
    }
    write_json(
        FLAGS.output,
        {
            **provenance(("mlserver", "grpcio", "fastapi")),
            "network": "WRN-10-1, 28x28x1",
            "settings": settings,
            **summary,
        },
    )
    if FLAGS.figure:
        draw(answers, memory, FLAGS.figure)
    rows = [
        [protocol, *(f"{values[key]:.1f}" for key in ("p50", "p90", "p99", "max"))]
        for protocol, values in summary["latency_ms"].items()
    ]
    print(markdown_table(["latency, ms", "p50", "p90", "p99", "max"], rows))
    good, bad = summary["good"], summary["malformed"]
    print(
        f"\n{summary['requests_per_second']:.1f} requests a second. Of "
        f"{good['requests']} good requests {good['answered']} were answered, "
        f"{good['wrong_answers']} wrongly (largest difference "
        f"{good['largest_difference']:.1e}); of {bad['requests']} malformed ones "
        f"{bad['refused']} were refused. Memory, MiB: "
        f"{summary['memory_mib']['after_warm_up']:.1f} after a fifth of the time, "
        f"{summary['memory_mib']['at_the_end']:.1f} at the end."
    )
    if attacked:
        sizes = attacked["memory_mib"]
        print(
            f"{attacked['requests']} hostile requests of {attacked['kinds']} kinds in "
            f"{attacked['seconds']:.0f} seconds; not as they must be: "
            f"{attacked['unexpected']}. Memory, MiB: {sizes['idle']:.0f} before, at "
            f"most {sizes['most']:.0f}."
        )
    if (
        (attacked and attacked["unexpected"])
        or good["answered"] < good["requests"]
        or good["wrong_answers"]
        or bad["refused"] < bad["requests"]
    ):
        sys.exit("error: not every answer is what it must be")


if __name__ == "__main__":
    app.run(main)
