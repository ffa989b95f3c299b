"""What counts as a number in the checks of what users give."""

import numpy as np
import pytest

from envs_mjx import checks

GOOD = (3, np.int64(3), np.int8(3), np.uint32(3))
BAD = (True, np.bool_(True), 3.0, np.float32(3), "3", None)
INTEGERS = (
    lambda value: checks.check_integer("n", value, 1),
    lambda value: checks.check_count("n", value),
    lambda value: checks.check_whole("n", value, 1, 5),
    lambda value: checks.check_counts("Owner", n=value),
    lambda value: checks.check_widths("n", (value,)),
)
NUMBERS = (
    lambda value: checks.check_nonnegative("n", value),
    lambda value: checks.check_number("n", value, above=0.0),
)


@pytest.mark.parametrize("check", INTEGERS)
def test_integers_of_numpy_are_integers_and_truth_values_are_not(check):
    for value in GOOD:
        check(value)
    for value in BAD:
        with pytest.raises(checks.UserError):
            check(value)


@pytest.mark.parametrize("check", NUMBERS)
def test_numbers_of_numpy_are_numbers(check):
    for value in (*GOOD, 0.5, np.float32(0.5), np.float64(0.5)):
        check(value)
    for value in (True, np.bool_(True), "1", None, np.nan, np.float32("inf"), np.ones(1)):
        with pytest.raises(checks.UserError):
            check(value)


def test_limits_hold_for_numpy_too():
    with pytest.raises(checks.UserError, match="n must be a whole number from 1 to 5, got"):
        checks.check_whole("n", np.int64(6), 1, 5)
    with pytest.raises(checks.UserError, match="n must be an integer of at least 1, got"):
        checks.check_count("n", np.int64(0))
