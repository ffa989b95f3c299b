"""Scalers of columns, fitted to a dataset."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from envs_mjx.checks import UserError, check_choice, check_number
from swmjax.data.transforms import ColumnTransform
from swmjax.data.windows import Dataset

_EPS = 1e-8


def fitting(values: Any) -> np.ndarray:
    """Rows to fit a scaler to, [N, D], without those that hold NaN; a column of single numbers has one dimension.

    Raises:
        UserError: They are no numbers, or NaN is in every row.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise UserError(f"a scaler is fitted to numbers, got {array.dtype}")
    rows = array.reshape(-1, array.shape[-1] if array.ndim > 1 else 1)
    rows = rows.astype(np.result_type(rows, np.float32), copy=False)
    rows = rows[~np.isnan(rows).any(axis=1)]
    if not len(rows):
        raise UserError(f"a scaler cannot be fitted to {len(array)} rows, none of them without NaN")
    return rows


class Scaler:
    """From a column's own units to those that a model sees, and back; numbers in, numbers of the same library out.

    As a function it gives float32, whatever goes in.
    """

    def fit(self, values: Any) -> Scaler:
        """Take the statistics of rows [N, ..., D], or of single numbers [N]; rows with NaN are left out."""
        return self

    def transform(self, values: Any) -> Any:
        """What a model sees of values [..., D], or [...] if it was fitted to single numbers."""
        return values

    def inverse_transform(self, values: Any) -> Any:
        """The values of what a model sees."""
        return values

    def fit_transform(self, values: Any) -> Any:
        """`fit`, and `transform` of the same."""
        return self.fit(values).transform(values)

    def __call__(self, values: Any) -> Any:
        if values.dtype.kind != "f":
            values = values.astype(np.float32)
        return self._cast(values).transform(values).astype(np.float32)

    def _cast(self, values: Any) -> Scaler:
        """This scaler with statistics of the kind of values."""
        return self

    def _statistics(self, values: Any, *names: str) -> list[np.ndarray]:
        """Statistics by name, of as many dimensions as values."""
        found = [getattr(self, name) for name in names]
        if any(each is None for each in found):
            raise UserError(f"a {type(self).__name__} is fitted before it is used")
        return [each.reshape([1] * (values.ndim - 1) + [-1] * (values.ndim > 0)) for each in found]


class IdentityScaler(Scaler):
    """Leaves values as they are."""

    def __call__(self, values: Any) -> Any:
        return values


class ZScoreScaler(Scaler):
    """Mean 0 and standard deviation 1 in every dimension.

    Args:
        mean: Mean, [1, D], or [1] of single numbers; None before `fit`.
        std: Standard deviation of the population, of the same shape.
        eps: What is divided by, at least.

    Source: reference, `data/normalization.py`.
    """

    def __init__(self, mean: Any = None, std: Any = None, eps: float = _EPS):
        check_number("eps", eps, above=0.0)
        self.mean, self.std = (None if each is None else np.asarray(each) for each in (mean, std))
        self.eps = eps

    def fit(self, values: Any) -> ZScoreScaler:
        """Take mean and standard deviation."""
        rows = fitting(values)
        # Summed with 64 bits: two million float32 would lose digits. Single numbers get statistics of their own shape.
        keep = np.ndim(values) > 1
        self.mean = rows.mean(axis=0, keepdims=keep, dtype=np.float64).astype(rows.dtype)
        self.std = rows.std(axis=0, keepdims=keep, dtype=np.float64).astype(rows.dtype)
        return self

    def transform(self, values: Any) -> Any:
        """Standardised values."""
        mean, std = self._statistics(values, "mean", "std")
        return (values - mean) / np.maximum(std, self.eps)

    def inverse_transform(self, values: Any) -> Any:
        """Values of standardised ones."""
        mean, std = self._statistics(values, "mean", "std")
        return values * std + mean

    def _cast(self, values: Any) -> ZScoreScaler:
        mean, std = (each.astype(values.dtype) for each in self._statistics(values, "mean", "std"))
        return ZScoreScaler(mean, std, self.eps)


class PercentileScaler(Scaler):
    """A low and a high percentile of every dimension at -1 and 1; what lies outside is cut off.

    Args:
        low: The percentile that becomes -1.
        high: The one that becomes 1.
        q_low: Its value, [D]; None before `fit`.
        q_high: The other's.
        eps: How far the two are taken to be apart, at least.

    Source: reference, `data/normalization.py`.
    """

    def __init__(self, low: float = 1.0, high: float = 99.0, q_low: Any = None, q_high: Any = None, eps: float = _EPS):
        check_number("low", low, least=0.0, most=100.0)
        check_number("high", high, above=low, most=100.0)
        check_number("eps", eps, above=0.0)
        self.low, self.high, self.eps = low, high, eps
        self.q_low, self.q_high = (None if each is None else np.asarray(each) for each in (q_low, q_high))

    def fit(self, values: Any) -> PercentileScaler:
        """Take both percentiles."""
        rows = fitting(values)
        self.q_low, self.q_high = np.percentile(rows, [self.low, self.high], axis=0).astype(rows.dtype)
        return self

    def transform(self, values: Any) -> Any:
        """Values between -1 and 1."""
        low, high = self._statistics(values, "q_low", "q_high")
        return (2 * (values - low) / np.maximum(high - low, self.eps) - 1).clip(-1, 1)

    def inverse_transform(self, values: Any) -> Any:
        """Values of those between -1 and 1."""
        low, high = self._statistics(values, "q_low", "q_high")
        return (values + 1) * (high - low) / 2 + low

    def _cast(self, values: Any) -> PercentileScaler:
        low, high = (each.astype(values.dtype) for each in self._statistics(values, "q_low", "q_high"))
        return PercentileScaler(self.low, self.high, low, high, self.eps)


SCALERS: dict[str, Callable[..., Scaler]] = {
    "zscore": ZScoreScaler,
    "percentile": PercentileScaler,
    "none": IdentityScaler,
}


def get_scaler(method: str = "zscore", **options: Any) -> Scaler:
    """A scaler by name, not fitted yet.

    Args:
        method: `zscore`, `percentile` or `none`.
        **options: Of its class.

    Raises:
        UserError: There is no such method.
    """
    check_choice("method", method, tuple(SCALERS), show=str)
    return SCALERS[method](**options)


def column_normalizer(dataset: Dataset, source: str, target: str, method: str = "zscore") -> ColumnTransform:
    """A transform of windows that scales a column by the statistics of a dataset.

    Args:
        dataset: What the scaler is fitted to.
        source: The column that is scaled.
        target: The column that is made of it.
        method: `zscore`, `percentile` or `none`.

    Raises:
        UserError: There is no such method or column, or the column holds no numbers.
    """
    scaler = get_scaler(method)
    if method != "none":
        scaler.fit(dataset.get_col_data(source))
    return ColumnTransform(scaler, source, target)
