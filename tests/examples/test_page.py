"""The page on a server, in headless Chromium, and what serves it.

Chromium asks one `serve_page.py`, which hands on to a gate in this process, and that
to another `serve_page.py`, which answers with a SavedModel. The gate sees what the
page sends, and can fail.
"""

import base64
import concurrent.futures
import contextlib
import functools
import http.client
import http.server
import json
import os
import pathlib
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import keras
import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf
from PIL import Image

import tfhyper
from examples.serve import attack
from tests.helpers.browsers import FOLDER, require_browser
from tests.helpers.processes import run_python

ROOT = pathlib.Path(__file__).parents[2]
NAMES = tuple(f"class {letter}" for letter in "abcd")
DRAWS = 3
LINES = ("total", "aleatoric", "epistemic")
PROCESSES = {}  # address -> process
IMAGE = np.random.default_rng(0).integers(0, 256, (28, 28), dtype="uint8")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A SavedModel for images of bytes, "tiny" by its folder."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            tfhyper.layers.HyperConv2D(4, 5, strides=4, activation="relu"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(4, kernel_initializer=keras.initializers.Orthogonal(3)),
        ]
    )
    path = tmp_path_factory.mktemp("models") / "tiny" / "1"
    path.parent.mkdir()
    predictor = tfhyper.PosteriorPredictor(model, DRAWS)
    # Some of the images of the page are unknown, and some are not.
    images = np.stack([example(place) for place in range(13)])
    predictor.fit_rejection(
        ((images[..., None] / 255 - 0.3) / 0.35).astype("float32"), coverage=0.5
    )
    tfhyper.export.saved_model(
        predictor,
        str(path),
        preprocessing=tfhyper.export.Preprocessing(0.3, 0.35),
        class_names=NAMES,
    )
    return path


@pytest.fixture(scope="module")
def oracle(saved):
    """What the SavedModel gives for images of bytes, an array (batch, 28, 28)."""
    loaded = tf.saved_model.load(str(saved))

    def predict(images):
        images = tf.constant(np.asarray(images, "uint8").reshape(-1, 28, 28, 1))
        found = {}
        for name in ("serving_default", "members"):
            found.update(loaded.signatures[name](inputs=images))
        return {name: value.numpy() for name, value in found.items()}

    return predict


@contextlib.contextmanager
def page(*flags):
    """Runs serve_page.py, and gives its address and process."""
    process = subprocess.Popen(
        [sys.executable, str(FOLDER / "serve_page.py"), "--port=0", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        # It needs nothing of this repository.
        env={key: os.environ[key] for key in os.environ if key != "PYTHONPATH"},
        cwd="/",
    )
    try:
        line = process.stdout.readline()
        assert line.startswith("the page is at http://127.0.0.1:"), line
        yield line.split()[-1], process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


class Gate:
    """Hands requests on, and keeps them; `fails` is a (status, body) in their place."""

    def __init__(self, url):
        self.requests, self.fails = [], None

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(handler):
                body = handler.rfile.read(int(handler.headers["Content-Length"] or 0))
                if body:
                    self.requests.append(json.loads(body))
                handler.send_response(self.fails[0] if self.fails else 200)
                handler.end_headers()
                answer = self.fails[1] if self.fails else send(url, handler.path, body)
                handler.wfile.write(answer)

            do_POST = do_GET

            def log_message(handler, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def images(self):
        """Returns the images of the last request for several, as arrays."""
        inputs = [r["inputs"][0] for r in self.requests if "inputs" in r]
        (*_, last) = (i for i in inputs if i["shape"][0] > 1)
        return np.array(last["data"]).reshape(-1, 28, 28)


def send(url, path, body=None):
    """Returns an answer's body, whatever its status."""
    try:
        with urllib.request.urlopen(url.rstrip("/") + path, body or None) as response:
            return response.read()
    except urllib.error.HTTPError as error:
        return error.read()


@pytest.fixture(scope="module")
def answering(saved):
    with page(f"--saved_model={saved}", "--read_seconds=3") as (url, process):
        PROCESSES[url] = process
        yield url


@pytest.fixture(scope="module")
def opened(answering):
    """A browser with the page in it, and the gate."""
    browser = require_browser()
    gate = Gate(answering)
    with (
        page(f"--server_url={gate.url}") as (url, process),
        browser.Browser() as opened,
    ):
        opened.process = process
        opened.url = url
        opened.open(url)
        settle(opened)
        yield opened, gate
    gate.server.server_close()


def settle(browser):
    browser.wait("document.body.getAttribute('aria-busy') === 'false'")


def choose(browser, place):
    browser.evaluate(f"document.querySelectorAll('#images input')[{place}].click()")
    settle(browser)


def texts(browser, selector):
    return browser.evaluate(
        f"Array.from(document.querySelectorAll({selector!r}), e => e.textContent)"
    )


def upload(browser, path):
    browser.set_file("#file", path)
    browser.wait(f"chosen.textContent === {path.name!r} || !error.hidden")
    settle(browser)


def said(expected):
    """Returns what is said of each image: the name of a class, or unknown."""
    pairs = zip(expected["class"], expected["rejected"], strict=True)
    return ["unknown" if rejected else NAMES[i] for i, rejected in pairs]


def assert_shown(browser, expected):
    """Compares the page with what the SavedModel gives for one image."""
    mean, members = expected["probabilities"][0], expected["members"][0]
    best = int(expected["class"][0])
    answer = f"{NAMES[best]}, {100 * mean[best]:.1f} %"
    if expected["rejected"][0]:
        assert texts(browser, "#verdict") == ["unknown"]
        (reason,) = texts(browser, "#reason")
        assert f"total uncertainty {expected['total'][0]:.3f} nats > thres" in reason
        assert reason.endswith(f"the likeliest would be {answer}.")
    else:
        assert texts(browser, "#verdict") == [answer]
    hidden = browser.evaluate("reason.hidden || prediction.hidden")
    assert hidden != expected["rejected"][0]
    assert texts(browser, "#bars tbody th") == list(NAMES)
    rows = browser.evaluate(
        "Array.from(document.querySelectorAll('#bars tbody tr'), r => ["
        "r.querySelector('.bar').width.baseVal.valueInSpecifiedUnits,"
        "...Array.from(r.querySelectorAll('circle'),"
        " c => c.cx.baseVal.valueInSpecifiedUnits)])"
    )
    np.testing.assert_allclose(rows, 100 * np.vstack([mean, members]).T, atol=1e-3)
    for name in LINES:
        (shown,) = texts(browser, f"#{name}")
        np.testing.assert_allclose(float(shown), expected[name][0], atol=6e-4)


def example(place):
    """Returns the bytes of one of the images to choose from."""
    entry = json.loads((FOLDER / "examples.json").read_text())[place]
    return np.frombuffer(base64.b64decode(entry["pixels"]), "uint8").reshape(28, 28)


def test_the_examples_are_images_of_the_test_set():
    images, labels = tfhyper.data.load_arrays("fashion_mnist_small")[1]
    spec = tfhyper.data.DATASETS["fashion_mnist_small"]
    images = np.rint((images[..., 0] * spec.std + spec.mean) * 255)
    entries = json.loads((FOLDER / "examples.json").read_text())
    found = set()
    for place, entry in enumerate(entries[:-1]):
        (same,) = np.nonzero((images == example(place)).all((1, 2)))
        assert entry["name"] == spec.class_names[labels[same[0]]]
        found.add(labels[same[0]])
    assert found == set(range(10))


def test_it_shows_what_the_model_says_of_an_image(opened, oracle):
    browser, _ = opened
    assert texts(browser, "#model") == ["tiny"]
    assert texts(browser, "#most") == [f"{np.log(4):.2f}"]
    assert_shown(browser, oracle(example(0)))
    choose(browser, 3)
    assert_shown(browser, oracle(example(3)))
    assert browser.evaluate("error.hidden")


def test_it_says_unknown_where_the_model_does(opened, oracle, saved):
    browser, _ = opened
    expected = oracle(np.stack([example(place) for place in range(13)]))
    places = [int(np.argmax(expected["rejected"] == wanted)) for wanted in (1, 0)]
    for place in places:
        choose(browser, place)
        assert_shown(browser, oracle(example(place)))
    entries = json.loads((saved / "assets" / "tfhyper.json").read_text())
    threshold = entries["rejection"]["threshold"]
    choose(browser, places[0])
    assert f"> threshold {threshold:.3f}." in texts(browser, "#reason")[0]
    # A line at its height, by that of the numbers that are shown.
    (height,) = browser.evaluate(
        "Array.from(document.querySelectorAll('#lines .threshold'),"
        " line => line.y1.baseVal.value)"
    )
    shown = browser.evaluate(
        "[Array.from(document.querySelectorAll('#numbers tbody tr'),"
        " r => Number(r.cells[2].textContent)),"
        "Array.from(document.querySelector('polyline.total').points, p => p.y)]"
    )
    slope, start = np.polyfit(*shown, 1)
    # The numbers in the table have three digits, of 0.1 nats or so that they span.
    np.testing.assert_allclose(start + slope * threshold, height, atol=2)


def test_a_model_that_rejects_nothing_is_never_unknown(tmp_path):
    layers = [keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(3)]
    predictor = tfhyper.PosteriorPredictor(keras.Sequential(layers))
    path = tmp_path / "plain"
    preprocessing = tfhyper.export.Preprocessing(0.3, 0.35)
    tfhyper.export.saved_model(predictor, str(path), preprocessing=preprocessing)
    with page(f"--saved_model={path}") as (url, _):
        found = json.loads(send(url, "/v2/models/plain"))
    assert "rejected" not in [output["name"] for output in found["outputs"]]
    assert json.loads(found["parameters"]["description"])["rejection"] is None


def test_turning_by_keys_is_what_numpy_turns(opened, oracle):
    browser, gate = opened
    browser.evaluate("document.querySelector('[value=rotate]').click()")
    choose(browser, 1)
    images = gate.images()
    assert len(images) == 19
    np.testing.assert_array_equal(images[0], example(1))
    np.testing.assert_array_equal(images[9], np.rot90(example(1)))
    np.testing.assert_array_equal(images[18], np.rot90(example(1), 2))
    browser.evaluate("slider.focus()")
    for _ in range(9):
        for kind in ("keyDown", "keyUp"):
            key = {"key": "ArrowRight", "code": "ArrowRight"}
            browser.call(
                "Input.dispatchKeyEvent", type=kind, windowsVirtualKeyCode=39, **key
            )
    settle(browser)
    assert texts(browser, "#value") == ["90°"]
    assert_shown(browser, oracle(np.rot90(example(1))))

    expected = oracle(images)
    shown = browser.evaluate(
        "Array.from(document.querySelectorAll('#numbers tbody tr'),"
        " r => Array.from(r.cells, c => c.textContent))"
    )
    assert [row[0] for row in shown] == [f"{10 * i}°" for i in range(19)]
    assert [row[1] for row in shown] == said(expected)
    numbers = np.array([row[2:] for row in shown], float)
    np.testing.assert_allclose(
        numbers, np.stack([expected[name] for name in LINES], 1), atol=6e-4
    )
    # The lines go through the numbers: straight in them, downwards.
    heights = browser.evaluate(
        "Array.from(document.querySelector('polyline.total').points, p => p.y)"
    )
    slope, start = np.polyfit(expected["total"], heights, 1)
    assert slope < 0
    np.testing.assert_allclose(start + slope * expected["total"], heights, atol=0.1)


def test_blur_is_that_of_scipy(opened):
    browser, gate = opened
    choose(browser, 2)
    browser.evaluate("document.querySelector('[value=blur]').click()")
    settle(browser)
    images = gate.images()
    for place, sigma in ((0, 0), (4, 1), (16, 4)):
        image = example(2).astype(float)
        expected = scipy.ndimage.gaussian_filter(image, sigma, mode="nearest")
        np.testing.assert_allclose(images[place], expected, atol=0.51)


def test_noise_takes_the_place_of_the_image(opened):
    browser, gate = opened
    choose(browser, 2)
    browser.evaluate("document.querySelector('[value=noise]').click()")
    settle(browser)
    images = gate.images()
    np.testing.assert_array_equal(images[0], example(2))
    noise = images[-1].astype(float)
    np.testing.assert_allclose(images[10], (example(2) + noise) / 2, atol=0.51)
    # Even on 0 to 255: five standard errors of the mean, 74 / 28 each.
    assert abs(noise.mean() - 127.5) < 13
    np.testing.assert_allclose(noise.std(), 73.9, atol=8)


def test_uploads(opened, oracle, tmp_path):
    browser, gate = opened
    Image.fromarray(IMAGE).save(tmp_path / "exact.png")
    upload(browser, tmp_path / "exact.png")
    assert_shown(browser, oracle(IMAGE))
    browser.evaluate("invert.click()")
    settle(browser)
    assert_shown(browser, oracle(255 - IMAGE))

    # Scaled whole: above and below bars of ground, then the average of each place.
    photo = np.zeros((140, 280, 3), "uint8")
    photo[:, :140] = (250, 100, 50)
    Image.fromarray(photo).save(tmp_path / "photo.jpg", quality=95)
    browser.evaluate("invert.click()")
    upload(browser, tmp_path / "photo.jpg")
    image = gate.images()[0]
    assert not image[:7].any() and not image[21:].any() and not image[7:21, 15:].any()
    grey = 0.299 * 250 + 0.587 * 100 + 0.114 * 50
    np.testing.assert_allclose(image[8:20, 1:13], grey, atol=3)


def test_files_that_are_no_images_are_refused_in_words(opened, tmp_path):
    browser, _ = opened
    (tmp_path / "words.txt").write_text("no image")
    upload(browser, tmp_path / "words.txt")
    assert texts(browser, "#message") == ['"words.txt" is neither PNG nor JPEG.']
    (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    upload(browser, tmp_path / "cut.png")
    browser.wait("message.textContent.includes('cut.png')")
    assert "cannot be read as an image" in texts(browser, "#message")[0]
    choose(browser, 0)
    assert browser.evaluate("error.hidden && !prediction.hidden")


def test_it_stays_on_its_host_and_fits_a_phone(opened):
    browser, _ = opened
    assert browser.complaints == []
    own = (browser.url, "data:,")  # the latter is the icon, none
    assert browser.requests
    assert all(request["url"].startswith(own) for request in browser.requests)
    for width, dark in ((320, True), (390, False), (1200, False)):
        browser.resize(width, 800, dark)
        found = browser.evaluate("document.documentElement.scrollWidth")
        assert found <= width
    unnamed = browser.evaluate(
        "Array.from(document.querySelectorAll('input'))"
        ".filter(i => !i.labels[0]?.textContent.trim()).length"
    )
    assert unnamed == 0


def test_errors_of_the_server_are_shown_in_words(opened, oracle):
    browser, gate = opened
    for status, body, words in (
        (400, b'{"error": "too dark"}', "refused the request (400): too dark"),
        (500, b"<html>", "The server failed (500): Internal Server Error"),
        (200, b"<html>", "an answer that is no JSON"),
        (200, b'{"outputs": []}', "lacks"),
    ):
        gate.fails = status, body
        choose(browser, 2)
        choose(browser, 1)
        assert words in texts(browser, "#message")[0]
        assert browser.evaluate("prediction.hidden && sweep.hidden && !error.hidden")
    gate.fails = None
    browser.evaluate("again.click()")
    settle(browser)
    assert browser.evaluate("error.hidden && !prediction.hidden && !sweep.hidden")
    assert_shown(browser, oracle(example(1)))

    # From the beginning, and again when the server is there.
    gate.fails = 200, b"[]"
    browser.open(browser.url)
    browser.wait("!error.hidden")
    assert texts(browser, "#message") == ["The server has no model that is ready."]
    assert browser.evaluate("prediction.hidden && sweep.hidden")
    gate.fails = None
    browser.evaluate("again.click()")
    settle(browser)
    assert_shown(browser, oracle(example(0)))

    gate.server.shutdown()
    gate.server.socket.close()
    choose(browser, 2)
    assert "does not answer" in texts(browser, "#message")[0]
    browser.process.kill()
    browser.process.wait()
    choose(browser, 1)
    assert "Does serve_page.py still run?" in texts(browser, "#message")[0]


def request(url, method, path, body=None, headers=None):
    connection = http.client.HTTPConnection(url.split("/")[2], timeout=20)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, response.read(), response.headers
    finally:
        connection.close()


def tensor(**changes):
    data = IMAGE.ravel().tolist()
    entry = {"name": "inputs", "datatype": "UINT8", "shape": [1, 28, 28, 1]}
    return {**entry, "data": data, **changes}


BAD = {
    "no JSON": (b"{", "The body must be JSON"),
    "a list": ([], "must be a JSON object"),
    "nothing": ({}, "`inputs` must be a list"),
    "another name": ([tensor(name="x")], "`inputs` must be ['inputs'], each once"),
    "twice": ([tensor(), tensor()], "`inputs` must be ['inputs']"),
    "another type": ([tensor(datatype="FP32")], "must be UINT8. Received: 'FP32'"),
    "another shape": ([tensor(shape=[1, 784])], "must be [batch, 28, 28, 1]. Received"),
    "no images": ([tensor(shape=[0, 28, 28, 1], data=[])], "The shape of `inputs`"),
    "too few": ([tensor(data=[1, 2])], "must be 784 numbers. Received: 2"),
    "words": ([tensor(data=["a"])], "must hold numbers alone"),
    "ragged": ([tensor(data=[[1], [2, 3]])], "must hold numbers alone"),
    "NaN": ([tensor(data=[float("nan")] * 784)], "must hold finite numbers"),
    "halves": ([tensor(data=[0.5] * 784)], "whole numbers of 0 to 255"),
    "too much": ([tensor(data=[256] * 784)], "whole numbers of 0 to 255"),
    "huge": ([tensor(data=[10**400] * 784)], "must hold numbers alone"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_requests_are_refused_in_words(name, answering):
    body, words = BAD[name]
    if not isinstance(body, bytes):
        body = {"inputs": body} if body and isinstance(body, list) else body
        body = json.dumps(body).encode()
    status, answer, _ = request(answering, "POST", "/v2/models/tiny/infer", body)
    assert status == 400
    assert words in json.loads(answer)["error"]


def test_only_what_the_page_needs_is_served(answering):
    for method, path, status in (
        ("GET", "/", 200),
        ("GET", "/v2/models/tiny", 200),
        ("GET", "/v2/models/other", 404),
        ("POST", "/v2/repository/models/tiny/unload", 404),
        ("GET", "/serve_page.py", 404),
        ("GET", "/../../common.py", 404),
        ("GET", "//etc/passwd", 404),
        ("POST", "/index.html", 404),
        ("PUT", "/v2/models/tiny", 501),
    ):
        body = b"{}" if method == "POST" else None
        found, _, headers = request(answering, method, path, body)
        assert found == status, path
    found, _, headers = request(answering, "GET", "/page.js")
    assert headers["Content-Security-Policy"].startswith("default-src 'self'")
    large = b" " * ((4 << 20) + 1)
    found, answer, _ = request(answering, "POST", "/v2/models/tiny/infer", large)
    assert (found, json.loads(answer)["error"]) == (
        413,
        "The body must have at most 4194304 bytes.",
    )
    found, answer, _ = request(
        answering, "POST", "/v2/models/tiny/infer", iter([b"{}"])
    )
    assert found == 411


def test_it_answers_and_stays_small_under_hostile_requests(answering, oracle):
    good = json.dumps({"inputs": [tensor()]}).encode()
    expected = oracle(IMAGE)["probabilities"]

    def ask_well(_=None):
        status, answer, _ = request(answering, "POST", "/v2/models/tiny/infer", good)
        assert status == 200, answer
        found = {x["name"]: x["data"] for x in json.loads(answer)["outputs"]}
        np.testing.assert_allclose(found["probabilities"], expected[0], atol=1e-5)

    for _ in range(20):
        ask_well()
    memory = attack.Memory(PROCESSES[answering].pid)
    idle, path = memory.now, "/v2/models/tiny/infer"
    host, port = answering.split("/")[2].split(":")
    kinds = {
        name: functools.partial(attack.ask, (host, int(port)), kind, path=path)
        for name, kind in attack.http_kinds().items()
    }
    refused = attack.REFUSED | {None}
    allowed = dict.fromkeys(kinds, refused) | {
        # A method that it does not know, a body that nobody reads.
        "GET with a body for ever": refused,
        "reads no answers": {None, "gave up"},
        "random bytes": refused | {"no status"},
    }
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        attacked = pool.submit(attack.attack, kinds, allowed, requests=300, clients=12)
        ask_well()
        while not attacked.done():
            ask_well()
            time.sleep(0.1)
    assert attacked.result().unexpected == []
    assert memory.most < 1.5 * idle
    ask_well()


def test_a_model_server_that_drips_or_floods_is_bounded():
    def serve(send):
        with listener.accept()[0] as connection:
            connection.recv(10_000)
            with contextlib.suppress(OSError):
                send(connection)

    def drip(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b" ")
            time.sleep(0.2)

    def flood(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b" " * 100_000)

    def break_off(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"--server_url=http://127.0.0.1:{listener.getsockname()[1]}"
        with page(address, "--timeout=2") as (url, _):
            for send, status, words in (
                (drip, 504, "more than 2 seconds"),
                (flood, 502, "too large"),
                (break_off, 502, "breaks off"),
            ):
                threading.Thread(target=serve, args=(send,), daemon=True).start()
                found, answer, _ = request(url, "GET", "/v2/models/tiny")
                assert (found, words in json.loads(answer)["error"]) == (status, True)


@pytest.mark.parametrize(
    "flag, words",
    [
        ("--saved_model=/nowhere", "--saved_model must hold a SavedModel"),
        ("--server_url=localhost", "--server_url must be http://host:port"),
    ],
)
def test_bad_flags_end_with_a_message(flag, words):
    process = run_python(FOLDER / "serve_page.py", "--port=0", flag)
    assert process.returncode != 0
    assert words in process.stderr
    assert "Traceback" not in process.stderr
