"""Values on the command line."""

import pytest

from train.options import comma_separated


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b", ("a", "b")),
        (" a , b c ", ("a", "b c")),
        ("b,a,b", ("b", "a", "b")),
        ("a,,b,", ("a", "b")),
        (" , ", ()),
        ("", ()),
    ],
)
def test_the_parts_of_a_list(text: str, expected: tuple[str, ...]) -> None:
    assert comma_separated(text) == expected
