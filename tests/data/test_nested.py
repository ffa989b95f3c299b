"""Nested mappings by path."""

import pytest

from swmjax.data.nested import flatten_dict, get_in


def test_keys_of_the_way_are_joined_and_the_last_of_equal_ones_stays():
    assert flatten_dict({"a": {"b": {"c": 1}, "d": 2}, 3: 4}) == {"a.b.c": 1, "a.d": 2, "3": 4}
    assert flatten_dict({"a": {"b": 2}, "a.b": 3}) == {"a.b": 3}
    assert flatten_dict({"a": {"b": 1}}, "x", "/") == {"x/a/b": 1}
    assert flatten_dict({"a": {}}) == {}


def test_keys_are_followed():
    nested = {"a": {"b": [5, 6]}}
    assert get_in(nested, ["a", "b", 1]) == 6
    assert get_in(nested, []) is nested
    with pytest.raises(KeyError):
        get_in(nested, ["a", "c"])
