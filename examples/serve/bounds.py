"""What is counted before it is unpacked: JSON's values, and bodies that are held.

Only the standard library: the page's server counts with it too.
"""

import array
import contextlib
import dataclasses
import itertools
import threading
from collections.abc import Callable, Iterator

# The time for a request passes in so many parts. Where the server itself stands still
# only one of them is over at once, and what came meanwhile is read.
PARTS = 4
# Brackets of both kinds as one step down (1) or up (-1), as signed bytes.
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[{]}"))


@dataclasses.dataclass(frozen=True)
class Limits:
    """How much a client may ask for; `limits` of settings.json.

    Args:
        values: JSON values of a body, those that are empty lists or objects twice, or
            numbers of a message.
        depth: lists and objects inside of each other.
        names: strings and objects of a body, or fields of a message.
        headers: how many a request may have.
        header_bytes: bytes of the first line and the headers.
        chunks: pieces of a body whose length is not said before.
        read_seconds: time from the opening of a connection, or from its last answer,
            until the whole request is there.
        write_seconds: time that a client may leave its answer unread.
        connections: how many may be open, on each port of HTTP.
        requests: how many may be sent, and how many may be at work, at once.
        request_bytes: bytes of all their bodies together.

    Raises:
        ValueError: if one is no number above 0.
    """

    values: int = 2**20
    depth: int = 16
    names: int = 4096
    headers: int = 64
    header_bytes: int = 2**14
    chunks: int = 2**14
    read_seconds: float = 20
    write_seconds: float = 20
    connections: int = 256
    requests: int = 256
    request_bytes: int = 2**25

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            kinds = (int,) if field.type is int else (int, float)
            # What is no number is not above 0 either.
            if type(value) not in kinds or not 0 < value < float("inf"):
                raise ValueError(
                    f"`{field.name}` of the limits must be a "
                    f"{'whole ' if field.type is int else ''}number above 0. "
                    f"Received: {field.name}={value!r}"
                )


def json_excess(body: bytes, limits: Limits) -> str | None:
    """Returns what a body has too much of, in words, or `None`.

    Parsed, three bytes can be a list of 64: so that they are counted before. The body
    may be anything. Of what is no JSON at least so much is counted as a parser, which
    stops where it is none, has read until there.

    Args:
        body: UTF-8, as the parser must take it.
        limits: of which `values`, `names` and `depth` count here.

    Example:
        >>> json_excess(b'{"data": [[1], [2]]}', Limits(depth=2))
        'The body must have at most 2 lists and objects inside of each other.'
    """
    if b"\\" in body:
        # Pairs first: what is left of them escapes what follows.
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    quotes = body.count(b'"')
    names = (quotes + 1) // 2
    if names <= limits.names:
        # Every second part lies between strings.
        body = b"".join(body.split(b'"')[::2])
        names += body.count(b"{")
    if names > limits.names:
        return f"The body must have at most {limits.names} names, texts and objects."
    # A comma for each value but the first of each list or object.
    opened = body.count(b"[") + body.count(b"{")
    if 1 + body.count(b",") + opened > limits.values:
        return f"The body must have at most {limits.values} values."
    if opened <= limits.depth:
        return None
    steps = array.array("b", body.translate(_STEPS, _NO_BRACKETS))
    if max(itertools.accumulate(steps), default=0) > limits.depth:
        return (
            f"The body must have at most {limits.depth} lists and objects inside of "
            "each other."
        )
    return None


class Room:
    """Room for requests: how many, and how many bytes of bodies, are held at once.

    A request has its place while it is sent, and then while it is at work. If there
    is no room, the one that has been sent for longest gives way: who is slow holds
    nobody up. Those at work never give way.

    Args:
        requests: how many may be sent, and how many may be at work.
        size: bytes of all together.
    """

    def __init__(self, requests: int, size: int):
        self._requests, self._size = requests, size
        self._taken, self._at_work = 0, 0
        self._sent = {}  # the oldest first; the values mean nothing
        self._lock = threading.RLock()

    @contextlib.contextmanager
    def place(self, give_way: Callable[[], None]) -> Iterator["Place"]:
        """Gives a `Place` to a request that comes now.

        Args:
            give_way: ends the request; called at most once, from the thread of
                another request.
        """
        place = Place(self, give_way)
        with self._lock:
            if len(self._sent) >= self._requests:
                self._evict(next(iter(self._sent)))
            self._sent[place] = None
        try:
            yield place
        finally:
            with self._lock:
                self._leave(place)

    def _take(self, place, size):
        with self._lock:
            movable = sum(other.size for other in self._sent if other is not place)
            if self._taken - movable + size > self._size:
                self._evict(place)
            while self._taken + size > self._size and place in self._sent:
                self._evict(next(iter(self._sent)))
            if place not in self._sent:
                return False
            self._taken += size
            place.size += size
            return True

    def _work(self, place):
        with self._lock:
            if place not in self._sent or self._at_work >= self._requests:
                return False
            del self._sent[place]
            self._at_work += 1
            place.at_work = True
            return True

    def _evict(self, place):
        if place in self._sent:
            self._leave(place)
            place.give_way()

    def _leave(self, place):
        self._sent.pop(place, None)
        self._at_work -= place.at_work
        self._taken -= place.size
        place.at_work, place.size = False, 0


class Place:
    """One request's place in a `Room`."""

    def __init__(self, room: Room, give_way: Callable[[], None]):
        self._room, self.give_way = room, give_way
        self.size, self.at_work = 0, False

    def take(self, size: int) -> bool:
        """Returns whether there is room for so many bytes more of its body.

        Without, `give_way` has been called.
        """
        return self._room._take(self, size)

    def work(self) -> bool:
        """Returns whether the request, which is whole, may be answered now."""
        return self._room._work(self)
