"""Scalers: the reference's statistics, on columns of single numbers too."""

import pickle

import jax.numpy as jnp
import numpy as np
import pytest
from data_arrays import Arrays
from reference import run_reference

from envs_mjx.checks import UserError
from swmjax.data.normalise import IdentityScaler, PercentileScaler, ZScoreScaler, column_normalizer, get_scaler
from swmjax.data.transforms import Compose
from swmjax.data.windows import Windows

RNG = np.random.default_rng(0)
COLUMN = RNG.normal([3, -1, 0], [2, 0.1, 5], (500, 3))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("values", [COLUMN, COLUMN[:, 0], COLUMN.reshape(50, 10, 3)], ids=["2-D", "1-D", "3-D"])
def test_statistics_are_those_of_every_dimension(values, dtype):
    values = values.astype(dtype)
    rows = values.reshape(-1, values.shape[-1]) if values.ndim > 1 else values[:, None]
    scaler = ZScoreScaler().fit(values)
    np.testing.assert_allclose(scaler.mean.reshape(-1), rows.mean(0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(scaler.std.reshape(-1), rows.std(0), rtol=1e-4)
    scaled = scaler.transform(values)
    assert scaled.dtype == dtype
    assert scaled.shape == values.shape
    flat = scaled.reshape(rows.shape)
    np.testing.assert_allclose(flat.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(flat.std(0), 1, atol=1e-5)
    np.testing.assert_allclose(scaler.inverse_transform(scaled), values, rtol=1e-5, atol=1e-5)
    cut = PercentileScaler(5, 95).fit(values)
    low, high = np.percentile(rows, [5, 95], axis=0)
    np.testing.assert_allclose(cut.q_low, low.astype(dtype))
    scaled = cut.transform(values)
    assert scaled.shape == values.shape
    assert scaled.min() == -1
    assert scaled.max() == 1
    inside = ((rows > low) & (rows < high)).reshape(values.shape)
    np.testing.assert_allclose(cut.inverse_transform(scaled)[inside], values[inside], rtol=1e-4, atol=1e-5)


def test_rows_with_nan_are_left_out():
    holes = COLUMN.copy()
    holes[::10, 1] = np.nan
    full = np.delete(COLUMN, slice(None, None, 10), axis=0)
    for kind in (ZScoreScaler, PercentileScaler):
        np.testing.assert_allclose(kind().fit(holes).transform(full), kind().fit_transform(full))
    single = holes[:, 1]
    np.testing.assert_allclose(ZScoreScaler().fit(single).mean, full[:, 1].mean())
    assert np.isnan(ZScoreScaler().fit(holes).transform(holes)[0, 1])
    with pytest.raises(UserError, match="cannot be fitted to 3 rows"):
        ZScoreScaler().fit(np.full((3, 2), np.nan))
    with pytest.raises(UserError, match="fitted to numbers, got object"):
        PercentileScaler().fit(np.array(["a"], object))


def test_what_never_changes_stays_finite():
    for kind in (ZScoreScaler, PercentileScaler):
        constant = np.full((5, 2), 3.0)
        scaler = kind().fit(constant)
        assert np.isfinite(scaler.transform(constant)).all()
        assert np.isfinite(scaler(constant + 1)).all()


@pytest.mark.parametrize("method", ["zscore", "percentile", "none"])
def test_scalers_by_name(method):
    scaler = get_scaler(method).fit(COLUMN)
    again = pickle.loads(pickle.dumps(scaler))
    np.testing.assert_array_equal(again.transform(COLUMN), scaler.transform(COLUMN))
    values = jnp.asarray(COLUMN, jnp.float32)
    for done in (scaler.transform(values), scaler.inverse_transform(values), scaler(values)):
        assert isinstance(done, type(values))
        assert done.dtype == jnp.float32
    np.testing.assert_allclose(scaler(values), scaler.transform(COLUMN), rtol=1e-3, atol=1e-3)
    if method != "none":
        assert scaler(COLUMN).dtype == scaler(np.arange(6).reshape(2, 3)).dtype == np.float32


def test_wrong_use_is_refused():
    with pytest.raises(UserError, match="method must be one of zscore, percentile, none, got 'minmax'"):
        get_scaler("minmax")
    for scaler in (ZScoreScaler(), PercentileScaler()):
        for call in (scaler.transform, scaler.inverse_transform, scaler):
            with pytest.raises(UserError, match="is fitted before it is used"):
                call(COLUMN)
    for options in ({"low": 99, "high": 1}, {"low": -1}, {"eps": 0}):
        with pytest.raises(UserError, match="must be a number"):
            get_scaler("percentile", **options)
    assert IdentityScaler().fit_transform(COLUMN) is COLUMN


def test_columns_are_scaled_by_the_statistics_of_their_dataset():
    actions = RNG.normal(3, 2, (40, 2)).astype(np.float32)
    actions[9] = actions[19] = np.nan
    windows = Windows(Arrays([10, 10, 20], {"action": actions, "reward": RNG.normal(5, 3, 40)}), 2, 3)
    plain = windows.batch(range(8))
    windows.transform = Compose(
        [column_normalizer(windows, "action", "action"), column_normalizer(windows, "reward", "scaled", "percentile")]
    )
    windows.transform = pickle.loads(pickle.dumps(windows.transform))
    batch = windows.batch(range(8))
    used = actions[~np.isnan(actions).any(1)]
    expected = (plain["action"].reshape(8, 6, 2) - used.mean(0)) / used.std(0)
    np.testing.assert_allclose(batch["action"].reshape(8, 6, 2), expected, rtol=1e-4, atol=1e-5)
    assert batch["scaled"].dtype == np.float32
    assert np.abs(batch["scaled"]).max() <= 1
    np.testing.assert_array_equal(batch["reward"], plain["reward"])
    transform = column_normalizer(windows, "reward", "scaled", "none")
    assert (transform.source, transform.target) == ("reward", "scaled")
    assert isinstance(transform.lambd, IdentityScaler)
    with pytest.raises(UserError, match="unknown column 'state'"):
        column_normalizer(windows, "state", "state")


_SCALE = """
import sys, numpy as np, torch
from stable_worldmodel.data import get_scaler
column = np.load(sys.argv[1])
found = {}
for method in ("zscore", "percentile"):
    scaler = get_scaler(method).fit(column)
    found[method] = scaler.transform(column)
    found[method + " tensor"] = scaler(torch.from_numpy(column)).numpy()
    found[method + " inverse"] = scaler.inverse_transform(scaler.transform(column))
np.savez(sys.argv[2], **found)
"""


@pytest.mark.reference
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scalers_are_the_reference_s(tmp_path, dtype):
    column = COLUMN.astype(dtype)
    column[::7, 2] = np.nan
    np.save(tmp_path / "column.npy", column)
    run_reference(_SCALE, tmp_path / "column.npy", tmp_path / "scaled.npz")
    expected = np.load(tmp_path / "scaled.npz")
    for method in ("zscore", "percentile"):
        scaler = get_scaler(method).fit(column)
        scaled = {"": scaler.transform(column), " tensor": scaler(column)}
        scaled[" inverse"] = scaler.inverse_transform(scaled[""])
        for name, values in scaled.items():
            assert values.dtype == expected[method + name].dtype
            np.testing.assert_allclose(values, expected[method + name], rtol=1e-4, atol=1e-5)
