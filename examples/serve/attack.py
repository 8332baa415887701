"""Hostile requests, by HTTP and gRPC, for tests and benchmarks of one's own servers.

Bodies are as large as the server takes them; clients are slow, lie, or never end.
"""

import collections
import concurrent.futures
import contextlib
import dataclasses
import functools
import gzip
import itertools
import random
import socket
import threading
import time
from collections.abc import Callable, Iterable

REFUSED = frozenset({400, 404, 405, 408, 411, 413, 414, 415, 429, 431, 501, 505})
PATH = "/v2/models/fashion/infer"
# As long as settings.json allows, or nearly.
SIZE = 3_900_000
# Most are shorter: those are as bad, and there are more of them in a second.
SHORT, SHARE = SIZE // 20, 0.1
SECONDS = 20


@dataclasses.dataclass(frozen=True)
class Hostile:
    """A kind of request.

    Args:
        pieces: makes what is sent, from a `random.Random` and a path.
        statuses: what may be answered; `None` is a connection that is closed.
        pause: seconds between pieces; it is slow if there are some.
        reads: whether the client reads answers.
    """

    pieces: Callable[[random.Random, str], Iterable[bytes]]
    statuses: frozenset
    pause: float = 0.0
    reads: bool = True


def _post(path, body, *headers, kind="application/json"):
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: localhost",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _size(random):
    return SIZE if random.random() < SHARE else SHORT


def _repeated(size, part, before=b"", after=b""):
    return before + part * ((size - len(before) - len(after)) // len(part)) + after


def _input(data=b"[]", shape=b"[1,28,28,1]", datatype=b'"UINT8"'):
    return b'{"inputs":[{"name":"inputs","datatype":%s,"shape":%s,"data":%s}]}' % (
        datatype,
        shape,
        data,
    )


def _keys(count):
    return ("{" + ",".join(f'"k{i}":0' for i in range(count)) + "}").encode()


@functools.cache
def _bodies(size):
    """Returns name -> body, statuses; made once, for they are large."""
    many = _repeated(size, b"{},", b"[", b"{}]")
    ones = _repeated(size // 2, b"1,", b"[", b"1]")
    return {
        "objects": (many, {413}),
        "objects in inputs": (b'{"inputs":%s}' % many, {413}),
        "objects in data": (_input(many), {413}),
        "numbers in inputs": (b'{"inputs":%s}' % ones, {400}),
        "numbers in outputs": (b'{"inputs":[],"outputs":%s}' % ones, {400}),
        "numbers in shape": (_input(shape=ones), {400}),
        "fractions in shape": (_input(shape=ones.replace(b"1,", b".5,")), {400}),
        "numbers in data": (_input(ones), {400}),
        "more numbers": (_input(_repeated(size, b"1,", b"[", b"1]")), {400, 413}),
        "lists": (_input(_repeated(size, b"[],", b"[", b"[]]")), {400, 413}),
        "lists of one": (_input(_repeated(size, b"[1],", b"[", b"[1]]")), {400, 413}),
        "some lists": (_input(_repeated(size // 3, b"[],", b"[", b"[]]")), {400}),
        "parameters": (b'{"inputs":[],"parameters":%s}' % _keys(4000), {400}),
        "many keys": (_keys(200_000), {413}),
        "same keys": (_repeated(size, b'"inputs":[],', b"{", b'"inputs":[]}'), {413}),
        "deep lists": (b"[" * size, {413}),
        "deep and closed": (b"[" * (size // 2) + b"]" * (size // 2), {413}),
        "deep objects": (_repeated(size, b'{"a":'), {413}),
        "deep, few": (b'{"a":' * 2000 + b"1" + b"}" * 2000, {413}),
        "long text": (b'{"id":"%s","inputs":[]}' % (b"a" * size), {400}),
        "wide text": (b'{"id":"%s"}' % ("a" * size + "\U0001f600").encode(), {400}),
        "texts": (_input(_repeated(size, b'"",', b"[", b'""]')), {413}),
        "quotes": (b'"' * size, {413}),
        "backslashes": (b'{"id":"%s"}' % (b"\\" * size), {400}),
        "escaped quotes": (b'{"id":"%s"}' % (b'\\"' * (size // 2)), {400}),
        "hidden brackets": (_repeated(size, b'"\\\\",{},', b"[", b"1]"), {413}),
        "escapes": (b'{"id":"%s"}' % (b"\\u0000" * (size // 6)), {400}),
        "bad UTF-8": (_input(b'["\xff\xfe\xc0\x80"]'), {400}),
        "surrogates": (b'{"id":"\\ud800"}', {400}),
        "UTF-16": (_input().decode().encode("utf-16"), {400}),
        "truncated": (_input(ones)[:-7], {400}),
        "commas": (b"," * size, {400, 413}),
        "spaces": (b" " * size, {400}),
        "zeros": (b"\x00" * size, {400}),
        "huge number": (_input(b"[1e999999]"), {400}),
        "long number": (_input(b"[%s]" % (b"9" * size)), {400}),
        "many inputs": (b'{"inputs":[%s]}' % b",".join([_input()] * 100), {400}),
        "huge shape": (_input(shape=b"[4611686018427387904,28,28,1]"), {400}),
        "shape of zeros": (_input(shape=b"[0,0,0,0]"), {400}),
        "too large": (b" " * (SIZE + 400_000), {413}),
        "nothing": (b"", {400}),
        "null": (b"null", {400}),
    }


def _whole(name, random, path):
    return [_post(path, _bodies(_size(random))[name][0])]


def _chunks(size, count=None):
    """Gives chunks of a size; without a count for ever."""
    chunk = f"{size:x}\r\n".encode() + b" " * size + b"\r\n"
    batch = chunk * max(1, 60_000 // len(chunk))
    counted = itertools.repeat(batch) if count is None else [batch] * count
    yield from counted


def _chunked(path, pieces):
    yield (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json"
        "\r\nTransfer-Encoding: chunked\r\n\r\n"
    ).encode()
    yield from pieces


def _headers(path, *lines, method="POST"):
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *lines, "", ""])


def _raw(*lines, method="POST"):
    return lambda random, path: [_headers(path, *lines, method=method).encode()]


def _random_bytes(random, path):
    return [random.randbytes(random.randrange(1, 5000))]


def _random_body(random, path):
    return [_post(path, random.randbytes(random.randrange(1, 100_000)))]


def _slow(content):
    """Gives a byte or two at a time, for longer than a server may wait."""
    return lambda random, path: (bytes([x]) for x in content(path) * 1000)


def _pipelined(random, path):
    """Gives whole requests, for long answers that nobody reads."""
    names = ("/v2/docs/dataplane.json", "/style.css")
    return itertools.repeat(
        b"".join(_headers(name, method="GET").encode() for name in names) * 20
    )


def http_kinds() -> dict[str, Hostile]:
    """Returns the kinds of requests by HTTP, by name."""
    closed = frozenset({None})
    late = frozenset({408, 429}) | closed  # where all are busy, the others too
    found = {
        name: Hostile(functools.partial(_whole, name), frozenset(statuses) | late)
        for name, (_, statuses) in _bodies(SHORT).items()
    }
    one = {
        "wrong content type": ([400], lambda r, p: [_post(p, _input(), kind="a/b")]),
        "binary extension": (
            [400],
            lambda r, p: [
                _post(p, _input() + b"\0" * 784, "Inference-Header-Content-Length: 85")
            ],
        ),
        "gzip": (
            [415],
            lambda r, p: [
                _post(p, gzip.compress(b" " * SIZE), "Content-Encoding: gzip")
            ],
        ),
        "random bytes": ([400, 408, 431], _random_bytes),
        "random body": ([400, 413], _random_body),
        "other method": ([405], _raw(method="BREW")),
        "many headers": ([431], _raw(*(f"X-{i}: a" for i in range(500)))),
        "large headers": ([431], _raw("X: " + "a" * 300_000)),
        "headers without end": (
            [431],
            lambda r, p: itertools.chain(
                [f"GET {p} HTTP/1.1\r\n".encode()],
                (b"X-%d: a\r\n" % i * 2000 for i in itertools.count()),
            ),
        ),
        "line without end": ([431], lambda r, p: itertools.repeat(b"G" * 10_000)),
        "long path": (
            [431],
            lambda r, p: [_headers("/" + "a" * 100_000, method="GET").encode()],
        ),
        "said to be huge": ([413], _raw("Content-Length: 10000000000")),
        "absurd length": ([400, 413], _raw("Content-Length: " + "9" * 5000)),
        "negative length": ([400], _raw("Content-Length: -1")),
        "two lengths": ([400], _raw("Content-Length: 1", "Content-Length: 2")),
        "other coding": ([501, 400], _raw("Transfer-Encoding: gzip")),
        "chunks for ever": ([413], lambda r, p: _chunked(p, _chunks(10_000))),
        "chunks of one byte": ([413], lambda r, p: _chunked(p, _chunks(1))),
        "bad chunks": ([400], lambda r, p: _chunked(p, [b"zz\r\n"])),
        "huge chunk": (
            [413],
            lambda r, p: _chunked(
                p, itertools.chain([b"fffffffff\r\n"], itertools.repeat(b" " * 60_000))
            ),
        ),
        "GET with a body for ever": (
            [405],
            lambda r, p: itertools.chain(
                [_headers(p, "Transfer-Encoding: chunked", method="GET").encode()],
                _chunks(10_000),
            ),
        ),
        "no such model": (
            [404],
            lambda r, p: [_post(f"/v2/models/m{r.random()}/infer", _input())],
        ),
    }
    for name, (statuses, pieces) in one.items():
        found[name] = Hostile(pieces, frozenset(statuses) | late)
    for name, content in {
        "slow headers": lambda p: _headers(p, "X: ").encode()[:-4] + b"a" * 100,
        "slow body": lambda p: _post(p, b" " * 1000),
        "slow line": lambda p: b"G" * 100,
    }.items():
        found[name] = Hostile(_slow(content), late, pause=0.1)
    head = _post(PATH, b" " * SIZE)[:200_000]
    waits = itertools.repeat(b"")
    found["stops in its body"] = Hostile(
        lambda r, p: itertools.chain([head], waits), late, pause=0.1
    )
    found["says nothing"] = Hostile(lambda r, p: waits, late, pause=0.1)
    found["reads no answers"] = Hostile(
        _pipelined, closed | {"gave up"}, pause=0.01, reads=False
    )
    return found


# Fields of ModelInferRequest, of its inputs and of their contents.
_NAME, _ID, _PARAMETERS, _INPUTS, _OUTPUTS, _RAW = 1, 3, 4, 5, 6, 7
_SHAPE, _CONTENTS = 3, 5
_UINTS, _FLOATS, _BYTES = 4, 6, 8


def _field(number, content):
    """Returns a field of a message, of bytes."""
    size, length = [], len(content)
    while length > 127:
        size.append(length & 127 | 128)
        length >>= 7
    return bytes([number << 3 | 2, *size, length]) + content


def _tensor(contents=b"", shape=b"\1\x1c\x1c\1"):
    parts = (_field(1, b"inputs"), _field(2, b"UINT8"), _field(_SHAPE, shape))
    return _field(_INPUTS, b"".join(parts) + contents)


@functools.cache
def grpc_kinds(size: int = SHORT) -> dict[str, tuple[bytes, set[str]]]:
    """Returns the kinds of messages by gRPC: name -> bytes, names of statuses.

    Args:
        size: bytes of each, about.
    """
    name = _field(_NAME, b"fashion")
    invalid, much = {"INVALID_ARGUMENT"}, {"RESOURCE_EXHAUSTED"}
    found = {
        f"empty {key}": (name + bytes([number << 3 | 2, 0]) * (size // 2), much)
        for key, number in (
            ("inputs", _INPUTS),
            ("outputs", _OUTPUTS),
            ("parameters", _PARAMETERS),
            ("raw contents", _RAW),
        )
    }
    for key, contents, status in (
        ("numbers", _field(_UINTS, b"\1" * size), much | invalid),
        ("some numbers", _field(_UINTS, b"\1" * (size // 4)), invalid),
        ("long numbers", _field(_UINTS, b"\xff" * size), invalid),
        ("floats", _field(_FLOATS, b"\0" * (size // 4 * 4)), invalid),
        ("texts", bytes([_BYTES << 3 | 2, 0]) * (size // 2), much),
        ("numbers one by one", bytes([_UINTS << 3, 1]) * (size // 2), much),
    ):
        found[key] = (name + _tensor(_field(_CONTENTS, contents)), status)
    raw = _field(_RAW, b"\1" * size)
    return found | {
        "raw": (name + _tensor() + raw, invalid),
        "raw, of another size": (name + _tensor(shape=b"\1\1") + raw, invalid),
        "long shape": (name + _tensor(shape=b"\1" * size), much | invalid),
        "some axes": (name + _tensor(shape=b"\1" * (size // 10)), invalid),
        "inputs": (name + _tensor() * 200, invalid),
        "long name": (_field(_NAME, b"a" * size), much),
        "long id": (name + _field(_ID, b"a" * size), much),
        "bad UTF-8": (_field(_NAME, b"\xff\xfe"), invalid),
        "groups": (b"\x0b" * size, invalid),
        "truncated": ((name + _tensor() + raw)[:-1], invalid),
        "zeros": (b"\0" * size, much),
        "random": (random.Random(0).randbytes(size), invalid),
        "too large": (b"\0" * (SIZE + 400_000), much),
        "compressed": (name + _field(_RAW, b"\0" * 10**7), {"UNIMPLEMENTED"}),
        "nothing": (b"", invalid | {"NOT_FOUND"}),
        "no message": (None, {"DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED"}),
    }


def ask_grpc(channel, name: str, random) -> str:
    """Returns the status's name of an answer by gRPC.

    Args:
        channel: a `grpc.Channel` that sends messages of any size.
        name: of one of `grpc_kinds`.
        random: a `random.Random`.
    """
    import grpc  # who attacks the page alone needs none

    content = grpc_kinds(_size(random))[name][0]
    compression = grpc.Compression.Gzip if name == "compressed" else None
    method = "/inference.GRPCInferenceService/ModelInfer"
    call = channel.stream_unary(method)
    ended = threading.Event()

    def messages():
        if content is None:
            ended.wait(SECONDS)
        else:
            yield content

    try:
        call(messages(), timeout=SECONDS, compression=compression)
        return "OK"
    except grpc.RpcError as error:
        return error.code().name
    finally:
        ended.set()


def ask(address: tuple[str, int], kind: Hostile, random, path: str = PATH):
    """Returns the status of the answer, or `None` if the server ended it without one.

    Args:
        address: host and port.
        kind: what to send.
        random: a `random.Random`.
        path: what is asked for.
    """
    until = time.monotonic() + SECONDS
    with contextlib.closing(socket.socket()) as connection:
        connection.settimeout(SECONDS)
        if not kind.reads:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(address)
        try:
            for piece in kind.pieces(random, path):
                if time.monotonic() > until:
                    raise TimeoutError(f"it goes on after {SECONDS} seconds")
                connection.sendall(piece)
                if kind.pause:
                    # Not longer than until the server says something.
                    connection.settimeout(kind.pause)
                    with contextlib.suppress(TimeoutError):
                        if kind.reads and connection.recv(1, socket.MSG_PEEK):
                            break
                    connection.settimeout(SECONDS)
        except ConnectionError:
            pass
        except TimeoutError:
            if kind.reads:
                raise
            return "gave up"  # before the server did
        if not kind.reads:
            return None
        try:
            answer = connection.recv(1000)
        except ConnectionError:
            return None
        return int(answer.split(None, 2)[1]) if answer.startswith(b"HTTP/") else None


@dataclasses.dataclass
class Outcome:
    """What became of an attack.

    Args:
        statuses: kind -> status -> how many.
        unexpected: kinds and statuses that the kind does not allow.
        seconds: how long it took.
    """

    statuses: dict
    unexpected: list
    seconds: float


def attack(
    kinds: dict[str, Callable[[random.Random], object]],
    allowed: dict[str, frozenset],
    requests: int,
    clients: int,
    seed: int = 0,
) -> Outcome:
    """Sends hostile requests, of all kinds by turns, from several clients at once.

    Args:
        kinds: name -> function of a `random.Random` that asks and returns a status.
        allowed: name -> statuses.
        requests: how many.
        clients: how many threads.
        seed: of what is random.
    """
    turns = list(itertools.islice(itertools.cycle(sorted(kinds)), requests))
    random.Random(seed).shuffle(turns)
    statuses = collections.defaultdict(collections.Counter)
    lock = threading.Lock()

    def one(place):
        name = turns[place]
        try:
            status = kinds[name](random.Random(seed + place))
        except Exception as error:  # told with the rest
            status = f"{type(error).__name__}: {error}"
        with lock:
            statuses[name][status] += 1

    start = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        list(pool.map(one, range(requests)))
    unexpected = [
        (name, status)
        for name, found in statuses.items()
        for status in found
        if status not in allowed[name]
    ]
    return Outcome(dict(statuses), unexpected, time.monotonic() - start)


def kinds_for(http_port: int, grpc_port: int, channel) -> tuple[dict, dict]:
    """Returns what `attack` takes, of all kinds, for a server on this machine.

    Args:
        http_port: of HTTP.
        grpc_port: of gRPC.
        channel: a `grpc.Channel` to it that sends messages of any size.
    """
    kinds, allowed = {}, {}
    http, address = http_kinds(), ("127.0.0.1", http_port)
    for name, kind in http.items():
        kinds[name] = functools.partial(ask, address, kind)
        allowed[name] = kind.statuses
    address = ("127.0.0.1", grpc_port)
    for name in ("says nothing", "slow line", "random bytes", "objects"):
        kinds[f"{name}, to gRPC"] = functools.partial(ask, address, http[name])
        allowed[f"{name}, to gRPC"] = {None}
    for name, (_, statuses) in grpc_kinds().items():
        kinds[f"gRPC, {name}"] = functools.partial(ask_grpc, channel, name)
        allowed[f"gRPC, {name}"] = {*statuses, "DEADLINE_EXCEEDED"}
    return kinds, allowed


class Memory:
    """Resident bytes of a process: now, and the most since this was made.

    Args:
        pid: of a process of the same user; Linux.
    """

    def __init__(self, pid: int):
        self._pid = pid
        with open(f"/proc/{pid}/clear_refs", "w") as file:
            file.write("5")  # forgets the most until now

    def _read(self, name):
        with open(f"/proc/{self._pid}/status") as file:
            (line,) = (line for line in file if line.startswith(name + ":"))
        return 1024 * int(line.split()[1])

    @property
    def now(self) -> int:
        """Resident bytes now."""
        return self._read("VmRSS")

    @property
    def most(self) -> int:
        """The most resident bytes."""
        return self._read("VmHWM")
