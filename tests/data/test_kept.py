"""Columns of numbers are kept once much of them was read; images and what is too large are not."""

import pickle

import numpy as np
import pytest
from data_arrays import arrays

from swmjax.data import Windows, kept


def test_a_column_is_kept_once_much_of_it_was_asked_for():
    reader = arrays((30, 50))
    column = kept.Kept(reader)
    assert column.column("proprio", 4) is None
    assert column.column("proprio", 6) is None
    assert reader.asked == []
    np.testing.assert_array_equal(column.column("proprio", 1), reader.arrays["proprio"])
    assert column.column("proprio", 1) is column.column("proprio", 100)
    assert len(reader.asked) == 1
    for name in ("pixels", "text"):
        assert column.column(name, 1000) is None
    again = pickle.loads(pickle.dumps(column))
    assert again.column("proprio", 1) is None


def test_no_more_is_kept_than_there_is_room_for(monkeypatch):
    monkeypatch.setattr(kept, "_BYTES", 80 * 3 * 4)
    reader = arrays((30, 50))
    column = kept.Kept(reader)
    assert column.column("proprio", 80) is not None
    assert column.column("action", 80) is None


@pytest.mark.parametrize("out", [False, True])
def test_windows_are_the_same_before_and_after(out):
    reader = arrays((30, 50))
    windows, fresh = Windows(reader, 2, 3), Windows(reader, 2, 3)
    numbers = np.array([3, 50, 3, 17])
    for _ in range(3):
        batch = windows.batch(numbers, windows.empty(4) if out else None)
    asked = reader.asked.copy()
    windows.batch(numbers)
    assert {name for columns, _ in reader.asked[len(asked) :] for name in columns} == {"pixels", "text"}
    fresh._kept = kept.Kept(arrays((1,)))
    fresh._kept.column = lambda *_: None
    for name, array in fresh.batch(numbers).items():
        np.testing.assert_array_equal(batch[name], array)
