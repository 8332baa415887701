"""What is counted in JSON before it is parsed, and the room for requests."""

import json
import random
import sys

import pytest

from examples.serve.bounds import Limits, Room, json_excess

LETTERS = ["a", '"', "\\", "[", "{", "]", "}", ",", ":", "\n", "é", "∀", "😀", "\x00"]


def any_json(choose, depth):
    """Returns something of which JSON can be made."""
    kind = choose.randrange(8 if depth else 6)
    if kind < 3:
        return [None, True, -1.5e10, 7][choose.randrange(4)]
    if kind < 6:
        return "".join(choose.choices(LETTERS, k=choose.randrange(6)))
    entries = [any_json(choose, depth - 1) for _ in range(choose.randrange(5))]
    if kind == 6:
        return entries
    return {f"{any_json(choose, 0)}{i}": entry for i, entry in enumerate(entries)}


def count(value):
    """Returns values, names and depth of what was parsed; twice what is empty."""
    if isinstance(value, str):
        return 1, 1, 0
    if not isinstance(value, (list, dict)):
        return 1, 0, 0
    found = [count(x) for x in (value.values() if type(value) is dict else value)]
    names = 1 + len(value) if type(value) is dict else 0
    return (
        1 + sum(x[0] for x in found) + (not found),
        names + sum(x[1] for x in found),
        1 + max((x[2] for x in found), default=0),
    )


def test_counts_are_those_of_the_parsed_document():
    choose = random.Random(0)
    seen = set()
    for i in range(2000):
        value = [any_json(choose, 5)]
        escaped = bool(i % 2)
        body = json.dumps(value, ensure_ascii=escaped, indent=i % 3 or None).encode()
        values, names, depth = count(json.loads(body))
        exact = {"values": values, "names": max(names, 1), "depth": depth}
        assert json_excess(body, Limits(**exact)) is None, body
        for name, most in exact.items():
            if most > 1 and (name != "names" or names > 1):
                words = json_excess(body, Limits(**{**exact, name: most - 1}))
                assert words is not None and f"at most {most - 1} " in words, body
                seen.add(name)
    assert seen == {"values", "names", "depth"}


@pytest.mark.parametrize(
    "body, words",
    [
        (b'["\\\\", [[[[', "at most 4 lists"),
        (b'["\\\\\\"[[[["', None),
        (b'["\\u005c", [[[[[', "at most 4 lists"),
        (b'"]]]]]" [[[[[', "at most 4 lists"),
        (b"[[[[[}}}}}", "at most 4 lists"),
        (b"]]]]]]]][[[[", None),
        (b'["[[[[[[[[[', None),
        (b'"\xff[[[[[[[[[["', None),
        (b",,,,,,,,,,,,,", "at most 12 values"),
        (b'""""""""""', "at most 4 names"),
        (b"{}{}{}{}{}", "at most 4 names"),
        (b"", None),
        (b"\x00" * 100, None),
    ],
)
def test_what_is_no_json_is_counted_until_a_parser_stops(body, words):
    found = json_excess(body, Limits(values=12, names=4, depth=4))
    assert found is words or words in found


def test_lists_take_many_times_what_is_held_to_count_them():
    """That is why they are counted first."""
    body = b"[" + b"[]," * 1000 + b"[]]"
    parsed = json.loads(body)
    assert sum(map(sys.getsizeof, parsed)) > 15 * len(body)
    assert "at most 1000 values" in json_excess(body, Limits(values=1000))


@pytest.mark.parametrize(
    "limit", [{"values": 0}, {"depth": 1.5}, {"read_seconds": float("nan")}]
)
def test_limits_are_numbers_above_0(limit):
    (name,) = limit
    with pytest.raises(ValueError, match=f"`{name}` of the limits must be"):
        Limits(**limit)


def test_who_has_been_sending_for_longest_gives_way():
    left, room = [], Room(2, 100)
    with room.place(lambda: left.append("a")) as a:
        assert a.take(60)
        with room.place(lambda: left.append("b")) as b:
            # More bytes than there are: not b, who came later.
            assert b.take(50)
            assert left == ["a"]
            assert not a.take(1) and not a.work()
            assert b.work()
            # b is at work, and gives no way.
            with room.place(lambda: left.append("c")) as c:
                assert not c.take(51)
                assert left == ["a", "c"]
            with room.place(lambda: left.append("d")) as d:
                assert d.take(50) and d.work()
                with room.place(lambda: left.append("e")) as e:
                    assert not e.work()  # two are
                    with (
                        room.place(lambda: left.append("f")),
                        room.place(lambda: left.append("g")),
                    ):
                        assert left == ["a", "c", "e"]
    with room.place(lambda: left.append("h")) as h:
        assert h.take(100) and h.work()
    assert left == ["a", "c", "e"]
