"""The server of examples/serve, asked by HTTP and gRPC as clients do, good and bad."""

import asyncio
import concurrent.futures
import json
import pathlib
import re
import shutil
import socket
import threading

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfhyper
from examples.serve import attack
from examples.serve.local_server import serving, write_repository
from tests.helpers.kits import make_kit
from tests.helpers.processes import run_python

pytest.importorskip("mlserver", reason='pip install -e ".[serve]" gives the server')
grpc = pytest.importorskip("grpc")
from mlserver.grpc import dataplane_pb2 as pb  # noqa: E402
from mlserver.grpc.dataplane_pb2_grpc import GRPCInferenceServiceStub  # noqa: E402

SERVE = pathlib.Path(__file__).parents[2] / "examples" / "serve"
SPEC = tfhyper.data.DATASETS["fashion_mnist_small"]
IMAGES = np.random.default_rng(0).integers(0, 256, (5, 28, 28, 1), dtype="uint8")
INFER = "/v2/models/fashion/infer"
SECONDS = 4  # that a request may take to come
LIMIT = json.loads((SERVE / "settings.json").read_text())["grpc_max_message_length"]


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory):
    """A model with all signatures, untrained: what is served is what is in it."""
    images = tfhyper.data.load_arrays("fashion_mnist_small")[0][0][:32]
    model = tfhyper.models.wide_resnet(
        10, 1, input_shape=(28, 28, 1), kit=make_kit("hyper")
    )
    # All that one draw may have: a code, noise of all weights, a view of the image.
    model = tfhyper.Variational(model, num_examples=1000, seed=0)
    flips = tfhyper.layers.Augment.flips()
    predictor = tfhyper.PosteriorPredictor(model, 2, augment=flips)
    predictor.estimate_batch_norm(images, verbose=0)
    # So that some of the images that are sent are unknown, and some are not.
    sent = ((IMAGES / 255 - SPEC.mean) / SPEC.std).astype("float32")
    # Of numbers that look like labels: a set is what the rule says, right or wrong.
    labels = np.arange(32) % 10
    predictor.fit_conformal(images, labels, alpha=0.5, method="aps", verbose=0)
    predictor.fit_rejection(sent, coverage=0.6)
    path = tmp_path_factory.mktemp("models") / "fashion" / "1"
    tfhyper.export.saved_model(
        predictor,
        path,
        preprocessing=tfhyper.export.Preprocessing(SPEC.mean, SPEC.std),
        class_names=SPEC.class_names,
        sampling=True,
        sampling_inputs=images[:8],
    )
    return path


@pytest.fixture(scope="module")
def signatures(saved_model):
    """The SavedModel's own functions: arrays in, arrays out."""
    loaded = tf.saved_model.load(str(saved_model))

    def run(name, images, **more):
        more = {key: tf.constant(value) for key, value in more.items()}
        found = loaded.signatures[name](inputs=tf.constant(images), **more)
        return {key: value.numpy() for key, value in found.items()}

    return run


@pytest.fixture(scope="module")
def server(saved_model, tmp_path_factory):
    """A server with that model, and three that cannot be served."""
    repository = tmp_path_factory.mktemp("repository")
    torn = shutil.copytree(saved_model, repository / "torn" / "1")
    content = (torn / "saved_model.pb").read_bytes()
    (torn / "saved_model.pb").write_bytes(content[: len(content) // 2])
    weightless = shutil.copytree(saved_model, repository / "weightless" / "1")
    (data,) = (weightless / "variables").glob("*.data*")
    data.write_bytes(data.read_bytes()[:100])
    module = tf.Module()
    module.serve = tf.function(
        lambda inputs: {"inputs": inputs, "secret": tf.io.read_file("/etc/hostname")},
        input_signature=[tf.TensorSpec((None, 2), tf.float32, name="inputs")],
    )
    reader = repository / "reader" / "1"
    tf.saved_model.save(module, str(reader), signatures=module.serve)
    paths = {
        "fashion": saved_model,
        "torn": torn,
        "weightless": weightless,
        "reader": reader,
    }
    write_repository(repository, paths)
    limits = {"read_seconds": SECONDS, "write_seconds": SECONDS}
    with serving(repository, wait_for="fashion", **limits) as server:
        yield server


def call(server, path, body=None, headers=(), method=None):
    """Returns status and content of an answer; a body that is no bytes goes as JSON."""
    connection = server.connect()
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
    method = method or ("GET" if body is None else "POST")
    headers = {"Content-Type": "application/json", **dict(headers)}
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def request(images=IMAGES, outputs=None, parameters=None, **entries):
    """Returns a request, with entries of its input replaced."""
    entry = {
        "name": "inputs",
        "shape": list(np.shape(images)),
        "datatype": "UINT8",
        "data": np.asarray(images).ravel().tolist(),
    }
    body = {"inputs": [{**entry, **entries}]}
    if outputs:
        body["outputs"] = [{"name": name} for name in outputs]
    if parameters:
        body["parameters"] = parameters
    return body


def infer(server, *args, **kwargs):
    """Returns arrays by name, of a request that is good."""
    status, content = call(server, INFER, request(*args, **kwargs))
    assert status == 200, content
    return {
        x["name"]: np.reshape(x["data"], x["shape"])
        for x in json.loads(content)["outputs"]
    }


def assert_close(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-5, err_msg=name)


def test_answers_are_those_of_the_saved_model(server, signatures):
    expected = signatures("serving_default", IMAGES)
    assert_close(infer(server), expected)
    nested = infer(server, data=IMAGES.tolist())
    assert_close(nested, expected)
    members = signatures("members", IMAGES)
    assert_close(infer(server, parameters={"signature": "members"}), members)
    both = infer(server, outputs=["probabilities", "members"])
    assert_close(both, {"probabilities": expected["probabilities"], **members})
    for seed in (1, 2):
        fresh = signatures("sample", IMAGES, seed=np.int32(seed))
        chosen = {"signature": "sample", "seed": seed}
        assert_close(infer(server, parameters=chosen), fresh)


def test_requests_at_the_same_time_get_their_own_answers(server, signatures):
    expected = signatures("members", IMAGES)
    fresh = signatures("sample", IMAGES, seed=np.int32(3))

    def ask(i):
        rows = slice(i % 5, i % 5 + 1 + i % 2)
        if i % 3:
            found = infer(server, IMAGES[rows], parameters={"signature": "members"})
            return found["members"], expected["members"][rows]
        chosen = {"signature": "sample", "seed": 3}
        found = infer(server, IMAGES[rows], parameters=chosen)
        return found["members"], fresh["members"][rows]

    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        for found, wanted in pool.map(ask, range(48)):
            np.testing.assert_allclose(found, wanted, atol=1e-5)
    # Some went through the network together.
    found = server.metrics()
    batches = found['tfhyper_batch_images_count{model="fashion"}']
    assert batches < found['tfhyper_batch_images_sum{model="fashion"}']


def test_metadata(server):
    status, content = call(server, "/v2/models/fashion")
    assert status == 200
    found = json.loads(content)
    assert found["inputs"] == [
        {"name": "inputs", "datatype": "UINT8", "shape": [-1, 28, 28, 1]}
    ]
    shapes = {x["name"]: (x["datatype"], x["shape"]) for x in found["outputs"]}
    assert shapes == {
        "probabilities": ("FP32", [-1, 10]),
        "class": ("INT64", [-1]),
        "total": ("FP32", [-1]),
        "aleatoric": ("FP32", [-1]),
        "epistemic": ("FP32", [-1]),
        "rejected": ("BOOL", [-1]),
        "sets": ("BOOL", [-1, 10]),
        "members": ("FP32", [-1, 2, 10]),
    }
    assert found["parameters"]["class_names"] == list(SPEC.class_names)
    description = json.loads(found["parameters"]["description"])
    assert description["num_draws"] == 2
    assert description["rejection"]["score"] == "total"
    assert description["conformal"]["alpha"] == 0.5


def test_sets_of_classes_are_served(server, signatures):
    expected = signatures("serving_default", IMAGES)["sets"]
    assert expected.shape == (5, 10) and 0 < expected.sum() < 50
    found = infer(server, outputs=["sets", "probabilities"])
    assert found["sets"].dtype == bool
    np.testing.assert_array_equal(found["sets"], expected)
    assert "sets" not in infer(server, parameters={"signature": "sample", "seed": 1})


def test_what_is_unknown_is_said(server, signatures):
    expected = signatures("serving_default", IMAGES)["rejected"]
    assert expected.sum() == 2
    name = 'tfhyper_rejected_images_total{model="fashion"}'
    before = server.metrics().get(name, 0)
    found = infer(server, outputs=["rejected", "members"])["rejected"]
    assert found.dtype == bool
    np.testing.assert_array_equal(found, expected)
    assert server.metrics()[name] == before + 2


HUGE = {"shape": [2**62, 28, 28, 1]}
MALFORMED = {
    "truncated": (json.dumps(request()).encode()[:-9], "JSON"),
    "not UTF-8": (b'{"inputs": "\xff\xfe"}', "JSON"),
    "empty": (b"", "body"),
    "no object": (b"[1, 2]", "protocol"),
    "NaN in JSON": (json.dumps({"inputs": [np.nan]}).encode(), "JSON"),
    "no inputs": ({"inputs": []}, "each once"),
    "inputs missing": ({}, "inputs"),
    "two inputs": ({"inputs": request()["inputs"] * 2}, "2 inputs"),
    "another name": (request(name="image"), "each once"),
    "another rank": (request(shape=[3920]), "28, 28, 1"),
    "another shape": (request(shape=[5, 28, 14, 2]), "28, 28, 1"),
    "no shape": (request(shape=[]), "28, 28, 1"),
    "empty batch": (request(shape=[0, 28, 28, 1], data=[]), "28, 28, 1"),
    "negative": (request(shape=[-5, 28, 28, 1]), "28, 28, 1"),
    "fraction": (request(shape=[0.5, 28, 28, 1]), "shape"),
    "huge shape": (request(**HUGE), "at most 64"),
    "too many": (request(np.zeros((65, 28, 28, 1), "uint8")), "at most 64"),
    "short": (request(data=[0] * 3919), "3920 numbers"),
    "ragged": (request(data=[[0], [0, 1]]), "3920 numbers"),
    "text": (request(data="x"), "3920 numbers"),
    "texts": (request(data=["x"] * 3920), "whole numbers"),
    "nulls": (request(data=[None] * 3920), "whole numbers"),
    "fractions": (request(data=[0.5] * 3920), "whole numbers"),
    "booleans": (request(data=[True] * 3920), "whole numbers"),
    "out of range": (request(data=[256] * 3920), "0 to 255"),
    "far out of range": (request(data=[2**63] * 3920), "0 to 255"),
    "another datatype": (request(datatype="FP32"), "must be UINT8"),
    "no datatype": (request(datatype="CATS"), "datatype"),
    "signature": (request(parameters={"signature": "train"}), "must be one of"),
    "signature type": (request(parameters={"signature": ["members"]}), "must be one"),
    "no seed": (request(parameters={"signature": "sample"}), "`seed`"),
    "seed type": (request(parameters={"signature": "sample", "seed": True}), "`seed`"),
    "negative seed": (request(parameters={"signature": "sample", "seed": -1}), "seed"),
    "needless seed": (request(parameters={"seed": 1}), "`seed`"),
    "outputs": (request(outputs=["gradients"]), "must be among"),
    "headers": (request(parameters={"headers": 1}), "headers"),
    "id": ({**request(), "id": "a\r\nSet-Cookie: b"}, "`id`"),
    "id of other letters": ({**request(), "id": "日本"}, "`id`"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_requests_are_refused_in_words(server, name):
    body, words = MALFORMED[name]
    status, content = call(server, INFER, body)
    assert status == 400, content
    message = json.loads(content)["error"]
    assert words in message
    assert len(message) < 600


def test_what_else_http_refuses(server):
    status, content = call(server, INFER, b" " * (LIMIT + 1))
    assert (status, f"{LIMIT} bytes" in content.decode()) == (413, True)
    for deep in (b"[" * 17, b'{"a":' * 17, b"[" * 17 + b"]" * 17):
        status, content = call(server, INFER, deep)
        assert (status, "at most 16 lists" in content.decode()) == (413, True)
    gzip = [("Content-Encoding", "gzip")]
    assert call(server, INFER, b"\x1f\x8b", headers=gzip)[0] == 415
    binary = [("Content-Type", "application/octet-stream")]
    status, content = call(server, INFER, b"\xff\x00", headers=binary)
    assert status == 400, content
    assert call(server, "/v2/models/cats/infer", request())[0] == 404
    assert call(server, "/v2/models/fashion/versions/7/infer", request())[0] == 404
    assert call(server, f"{INFER}_stream", request())[0] == 404
    assert call(server, INFER)[0] == 405
    for change in ("load", "unload"):
        path = f"/v2/repository/models/fashion/{change}"
        assert call(server, path, b"")[0] == 403
    assert call(server, "/v2/models/fashion/ready")[0] == 200


def test_a_body_is_refused_by_its_length_before_it_comes(server):
    connection = server.connect()
    connection.putrequest("POST", INFER)
    connection.putheader("Content-Length", str(LIMIT + 1))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()
    # A client that waits for a word sends nothing.
    connection = server.connect()
    connection.putrequest("POST", INFER)
    connection.putheader("Content-Length", str(LIMIT + 1))
    connection.putheader("Expect", "100-continue")
    connection.endheaders()
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("Connection")) == (413, "close")
    connection.close()


def test_it_is_alive_and_says_which_models_are_not_ready(server):
    assert call(server, "/v2/health/live")[0] == 200
    # Of those it was told to serve some are missing.
    assert call(server, "/v2/health/ready")[0] == 400
    log = server.log.read_text()
    for name in ("torn", "weightless", "reader"):
        assert call(server, f"/v2/models/{name}/ready")[0] == 400
        status, content = call(server, f"/v2/models/{name}/infer", request())
        assert status == 400
        assert "not ready" in json.loads(content)["error"]
        assert f"The model '{name}' is not served" in log
    assert "operations that no predictor has: ['ReadFile']" in log


def test_metrics(server):
    names = {
        "requests": 'tfhyper_requests_total{model="fashion",signature="members"}',
        "images": 'tfhyper_images_total{model="fashion"}',
        "shape": 'tfhyper_refused_requests_total{model="fashion",reason="shape"}',
        "json": 'tfhyper_refused_requests_total{model="",reason="json"}',
        "kept": 'tfhyper_mean_uncertainty_count{kind="epistemic",model="fashion"}',
        "sum": 'tfhyper_mean_uncertainty_sum{kind="epistemic",model="fashion"}',
    }
    before = server.metrics()
    infer(server, parameters={"signature": "members"})
    mean = infer(server)["epistemic"].mean()
    call(server, INFER, request(shape=[1]))
    call(server, INFER, b"{")
    call(server, "/v2/models/a-name-that-nobody-has/infer", request())
    after = server.metrics()
    added = {key: after[name] - before.get(name, 0) for key, name in names.items()}
    assert {k: added[k] for k in ("requests", "images", "shape", "json", "kept")} == {
        "requests": 1,
        "images": 10,
        "shape": 1,
        "json": 1,
        "kept": 1,
    }
    np.testing.assert_allclose(added["sum"], mean, rtol=1e-4)
    # Or anyone could fill the memory with names.
    assert not any("a-name-that-nobody-has" in name for name in after)


@pytest.fixture(scope="module")
def stub(server):
    options = [("grpc.max_send_message_length", -1)]
    address = f"127.0.0.1:{server.grpc_port}"
    with grpc.insecure_channel(address, options) as channel:
        yield GRPCInferenceServiceStub(channel)


def message(images=IMAGES, raw=True, model="fashion", **entries):
    """Returns a request of gRPC."""
    tensor = {"name": "inputs", "datatype": "UINT8", "shape": images.shape, **entries}
    found = pb.ModelInferRequest(model_name=model)
    found.inputs.append(pb.ModelInferRequest.InferInputTensor(**tensor))
    if raw:
        found.raw_input_contents.append(images.tobytes())
    else:
        found.inputs[0].contents.uint_contents.extend(images.ravel().tolist())
    return found


def test_grpc_gives_the_same(stub, signatures):
    expected = signatures("serving_default", IMAGES)
    answer = stub.ModelInfer(message(raw=False))
    found = {x.name: list(x.contents.fp32_contents) for x in answer.outputs}
    np.testing.assert_allclose(found["total"], expected["total"], atol=1e-5)
    answer = stub.ModelInfer(message())
    found = dict(zip([x.name for x in answer.outputs], answer.raw_output_contents))
    probabilities = np.frombuffer(found["probabilities"], "float32").reshape(5, 10)
    np.testing.assert_allclose(probabilities, expected["probabilities"], atol=1e-5)
    sample = message()
    sample.parameters["signature"].string_param = "sample"
    sample.parameters["seed"].int64_param = 0
    answer = stub.ModelInfer(sample)
    found = dict(zip([x.name for x in answer.outputs], answer.raw_output_contents))
    fresh = signatures("sample", IMAGES, seed=np.int32(0))["members"]
    members = np.frombuffer(found["members"], "float32").reshape(5, 2, 10)
    np.testing.assert_allclose(members, fresh, atol=1e-5)
    assert stub.ModelReady(pb.ModelReadyRequest(name="fashion")).ready
    assert not stub.ModelReady(pb.ModelReadyRequest(name="torn")).ready
    inputs = stub.ModelMetadata(pb.ModelMetadataRequest(name="fashion")).inputs
    assert list(inputs[0].shape) == [-1, 28, 28, 1]


def no_seed():
    found = message()
    found.parameters["signature"].string_param = "sample"
    return found


def headers():
    found = message()
    found.parameters["headers"].string_param = "x"
    return found


def no_contents():
    found = message()
    del found.raw_input_contents[:]
    return found


def wrong_id():
    found = message()
    found.id = "日本"
    return found


BAD_MESSAGES = {
    "shape": lambda: message(shape=[5, 28, 28, 2]),
    "huge shape": lambda: message(shape=[2**62, 2**62, 2**62]),
    "many axes": lambda: message(shape=[2**62] * 1000),
    "negative": lambda: message(shape=[-1, 28, 28, 1]),
    "other datatype": lambda: message(datatype="INT8"),
    "no datatype": lambda: message(datatype="CATS"),
    "text": lambda: message(datatype="BYTES"),
    "short": lambda: message(IMAGES[:4], shape=IMAGES.shape),
    "no contents": no_contents,
    "no inputs": lambda: pb.ModelInferRequest(model_name="fashion"),
    "no seed": no_seed,
    "headers": headers,
    "id": wrong_id,
    "not ready": lambda: message(model="torn"),
}


@pytest.mark.parametrize("name", BAD_MESSAGES)
def test_grpc_refuses_malformed_messages(stub, name):
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(BAD_MESSAGES[name]())
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert 10 < len(caught.value.details()) < 600


def test_what_else_grpc_refuses(stub):
    def code(method, argument):
        with pytest.raises(grpc.RpcError) as caught:
            method(argument)
        return caught.value.code()

    status = grpc.StatusCode
    assert code(stub.ModelInfer, message(model="cats")) == status.NOT_FOUND
    assert code(stub.ModelReady, pb.ModelReadyRequest(name="x")) == status.NOT_FOUND
    large = message(np.zeros((LIMIT // 784 + 1, 28, 28, 1), "uint8"))
    assert code(stub.ModelInfer, large) == status.RESOURCE_EXHAUSTED
    unload = pb.RepositoryModelUnloadRequest(model_name="fashion")
    assert code(stub.RepositoryModelUnload, unload) == status.PERMISSION_DENIED
    stream = stub.ModelStreamInfer(iter([message()]))
    assert code(lambda _: list(stream), None) == status.UNIMPLEMENTED


def test_a_client_that_leaves_does_not_stop_others(stub, signatures):
    left = [stub.ModelInfer.future(message()) for _ in range(8)]
    for future in left[::2]:
        future.cancel()
    for future in left[1::2]:
        assert future.result(timeout=30).outputs


@pytest.fixture
def batcher(monkeypatch):
    monkeypatch.syspath_prepend(str(SERVE))
    import batcher

    return batcher


def test_what_waits_is_bounded_and_goes_together_by_key(batcher):
    ran = []

    def run(key, arrays):
        if key == "broken":
            raise OSError("broken")
        ran.append((key, len(arrays["x"])))
        return {"y": 2 * arrays["x"]}

    async def ask(queue, key, *values):
        return (await queue(key, {"x": np.array(values)}))["y"].tolist()

    async def main():
        queue = batcher.Batcher(run, 4, 0.05, max_waiting=8)
        asked = [("a", 1, 2), ("b", 3), ("a", 4, 5), ("a", 6), ("broken", 7), ("a", 8)]
        tasks = [asyncio.create_task(ask(queue, *each)) for each in asked]
        await asyncio.sleep(0)
        with pytest.raises(batcher.Refused, match="try again") as caught:
            await ask(queue, "a", 9)
        assert (caught.value.status_code, caught.value.reason) == (429, "busy")
        tasks[3].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, second, third, left, broken, last = asyncio.run(main())
    assert (first, second, third, last) == ([2, 4], [6], [8, 10], [16])
    assert isinstance(left, asyncio.CancelledError)
    assert isinstance(broken, OSError)
    assert ran == [("a", 4), ("b", 1), ("a", 1)]


def test_the_client(server):
    url = f"--url=http://127.0.0.1:{server.http_port}"
    process = run_client(url, "--examples=3")
    assert process.returncode == 0, process.stderr
    head, *lines = process.stdout.splitlines()
    assert head.split()[:5] == "class probability total aleatoric epistemic".split()
    assert len(lines) == 3
    for line in lines:
        numbers = re.findall(r"\d\.\d{4}", line)
        total, aleatoric, epistemic = map(float, numbers[1:])
        np.testing.assert_allclose(total, aleatoric + epistemic, atol=2e-4)
        held = line.rpartition(numbers[-1])[2].strip().split(", ")
        assert held == ["none"] or set(held) <= set(SPEC.class_names)


def test_the_client_with_a_file(server, tmp_path, signatures):
    path = tmp_path / "image.png"
    pytest.importorskip("PIL.Image").fromarray(IMAGES[0, ..., 0]).save(path)
    url = f"--url=http://127.0.0.1:{server.http_port}"
    address = f"--url=127.0.0.1:{server.grpc_port}"
    expected = signatures("serving_default", IMAGES[:1])
    fresh = signatures("sample", IMAGES[:1], seed=np.int32(1))
    for flags, wanted in (
        ((url,), expected),
        ((address, "--grpc"), expected),
        ((url, "--seed=1"), fresh),
    ):
        process = run_client(f"--image={path}", *flags)
        assert process.returncode == 0, process.stderr
        assert f"{wanted['total'][0]:.4f}" in process.stdout
        if "sets" in wanted:
            # gRPC's metadata has no lists, of names either.
            known = range(10) if "--grpc" in flags else SPEC.class_names
            names = np.array([str(x) for x in known])[wanted["sets"][0]]
            assert process.stdout.rstrip().endswith(", ".join(names) or "none")
    path.write_bytes(b"\x89PNG\r\n")
    for flags in ((url,), (url, "--model=cats"), ("--url=http://127.0.0.1:1",)):
        process = run_client(f"--image={path}", *flags)
        assert process.returncode != 0
        assert process.stderr.startswith("error: ")
        assert "Traceback" not in process.stderr


def pictures_of(inputs, channels):
    """Returns the outputs of a network that makes images twice as large."""
    x = tfhyper.layers.HyperConv2D(4, 3, padding="same", seed=1)(inputs)
    x = keras.layers.UpSampling2D(2)(x)
    return keras.Model(inputs, keras.layers.Conv2D(channels, 1)(x))


def test_the_client_writes_the_pictures_that_are_answered(tmp_path):
    image = pytest.importorskip("PIL.Image")
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 10, 3))
    predictors = {
        "larger": tfhyper.PosteriorPredictor(
            pictures_of(inputs, 3), 4, outputs="mean", noise_variance=0.01
        ),
        "maps": tfhyper.PosteriorPredictor(pictures_of(inputs, 5), 4),
    }
    pixels = np.random.default_rng(0).integers(0, 256, (8, 10, 3)).astype("uint8")
    image.fromarray(pixels).save(tmp_path / "small.png")
    plain = tfhyper.export.Preprocessing(0.0, 1.0)
    paths = {}
    for name, predictor in predictors.items():
        paths[name] = tmp_path / "models" / name / "1"
        tfhyper.export.saved_model(predictor, str(paths[name]), preprocessing=plain)
    repository = tmp_path / "repository"
    repository.mkdir()
    write_repository(repository, paths)
    x = pixels[None].astype("float32") / 255
    with serving(repository, wait_for="maps") as server:
        url = f"--url=http://127.0.0.1:{server.http_port}"
        file = f"--image={tmp_path / 'small.png'}"
        for name, predictor in predictors.items():
            path = tmp_path / f"{name}.png"
            model, output = f"--model={name}", f"--output={path}"
            process = run_client(url, file, model, output)
            assert process.returncode == 0, process.stderr
            found = predictor.predict(x)
            if name == "larger":
                expected = 255 * np.clip(found.mean[0], 0, 1)
                shown = np.asarray(image.open(path), int)
                np.testing.assert_allclose(shown, expected, atol=0.51)
                spread = np.sqrt(found.variance[0].mean(-1))
            else:
                colours = np.asarray(image.open(path)).reshape(-1, 3)
                label = found.mean[0].argmax(-1).ravel()
                known = {tuple(c) for c in colours}
                assert len(known) == len(set(label)) > 1
                spread = found.total[0]
            shown = np.asarray(image.open(tmp_path / f"{name}_uncertainty.png"), int)
            np.testing.assert_allclose(shown, 255 * spread / spread.max(), atol=1)
            assert f"white is {spread.max():.3g}" in process.stdout
        process = run_client(url, file, "--model=larger")
        assert process.stderr == (
            "error: The model answers with pictures: give --output.\n"
        )
        process = run_client(url, file, "--model=larger", f"--output={tmp_path}/a.b")
        assert process.stderr.startswith("error: --output must be an image file")


def run_client(*flags):
    return run_python(SERVE / "client.py", *flags)


def test_it_answers_and_stays_small_under_2000_hostile_requests(
    server, stub, signatures
):
    expected = signatures("members", IMAGES)["members"]
    wanted = {"signature": "members"}
    good_message = message()
    good_message.parameters["signature"].string_param = "members"

    def ask_well():
        found = infer(server, parameters=wanted)["members"]
        np.testing.assert_allclose(found, expected, atol=1e-5)
        raw = stub.ModelInfer(good_message, timeout=60).raw_output_contents[0]
        found = np.frombuffer(raw, "float32").reshape(expected.shape)
        np.testing.assert_allclose(found, expected, atol=1e-5)

    def ask_well_until(ended):
        count = 0
        while not ended.is_set():
            ask_well()
            count += 1
            ended.wait(0.05)
        return count

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for each in [pool.submit(ask_well) for _ in range(40)]:
            each.result()
    memory = attack.Memory(server.process.pid)
    idle, ended = memory.now, threading.Event()
    address = f"127.0.0.1:{server.grpc_port}"
    with (
        grpc.insecure_channel(address, [("grpc.max_send_message_length", -1)]) as bad,
        concurrent.futures.ThreadPoolExecutor(2) as pool,
    ):
        kinds = attack.kinds_for(server.http_port, server.grpc_port, bad)
        well = [pool.submit(ask_well_until, ended) for _ in range(2)]
        outcome = attack.attack(*kinds, requests=2000, clients=24)
        ended.set()
        assert min(each.result() for each in well) > 10
    assert outcome.unexpected == []
    assert sum(sum(found.values()) for found in outcome.statuses.values()) == 2000
    assert memory.most < 1.5 * idle
    ask_well()


def test_who_reads_no_answers_is_cut_off(server):
    kind = attack.http_kinds()["reads no answers"]
    assert attack.ask(("127.0.0.1", server.http_port), kind, None) is None


def test_so_many_connections_that_wait_give_way_to_new_ones(server):
    address = ("127.0.0.1", server.http_port)
    idle = [socket.create_connection(address, 30) for _ in range(300)]
    assert call(server, "/v2/health/live")[0] == 200
    # Of 256 the oldest were told, and the others had their time.
    answers = [each.recv(1000) for each in idle]
    assert answers[0].startswith(b"HTTP/1.1 429")
    assert answers[-1].startswith(b"HTTP/1.1 408")
    assert f"within {SECONDS} seconds".encode() in answers[-1]
    for each in idle:
        each.close()
