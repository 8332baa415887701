"""Tables as text."""

from tfhyper.text import align


def test_the_first_column_stands_left_and_the_others_right():
    rows = [("layer", "weights", ""), ("a", "1", ""), ("", "", "x")]
    assert align(rows) == "layer  weights\na            1\n                x"
