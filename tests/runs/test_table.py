"""Tables: what comes back, and rows and files that are refused."""

import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from swmjax.world.rows import EPISODES, episodes_table

ROW = {
    "episode": 0,
    "seed": 2**40,
    "start": [0.25, -1.5],
    "goal": [1e-9, 3.0],
    "success": True,
    "steps": 17,
    "final_distance": 0.1,
}
"""What earlier releases wrote."""
TOLD = {"return": -2.5, "ended": True, "solved_at_start": False, "plans": 3, "failed_plans": 1}
UNTOLD = dict.fromkeys(TOLD)


def test_episodes_come_back(tmp_path):
    arrays = ROW | {"episode": np.int32(1), "start": np.arange(2.0), "success": np.False_, "final_distance": math.nan}
    EPISODES.write(tmp_path, [ROW | TOLD, arrays | UNTOLD])
    first, second = EPISODES.read(tmp_path)
    assert first == ROW | TOLD
    assert math.isnan(second["final_distance"])
    assert second | {"final_distance": 0} == ROW | UNTOLD | {
        "episode": 1,
        "start": [0.0, 1.0],
        "success": False,
        "final_distance": 0,
    }
    EPISODES.write(tmp_path, [])
    assert EPISODES.read(tmp_path) == []


def test_tables_of_earlier_releases_and_what_does_not_exist_everywhere(tmp_path):
    old = pa.schema([field for field in EPISODES.schema if field.name in ROW])
    pq.write_table(pa.Table.from_pylist([ROW], schema=old), EPISODES.path(tmp_path))
    assert EPISODES.read(tmp_path) == [ROW | UNTOLD]
    rewards = ROW | TOLD | {"start": None, "goal": None, "success": None, "final_distance": None}
    table = episodes_table(("agent.color",))
    table.write(tmp_path, [rewards | {"variation.agent.color": [255, 0, 0]}])
    assert table.read(tmp_path) == [rewards | {"variation.agent.color": [255.0, 0.0, 0.0]}]
    with pytest.raises(ValueError, match="it must have .*variation.agent.color"):
        table.write(tmp_path, [rewards])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"extra": 1}, "row 1 of the episodes has ['episode', 'extra',"),
        ({"steps": None}, "row 1 of the episodes: steps is None, it must be int32"),
        ({"steps": 1.5}, "row 1 of the episodes: steps is 1.5, it must be int32"),
        ({"steps": 2**40}, "episodes: Value 1099511627776 too large"),
        ({"seed": 2**70}, "episodes: "),
        ({"start": [[1.0]]}, "episodes: Could not convert [1.0]"),
        ({"goal": {1}}, "row 1 of the episodes.goal is a set"),
    ],
)
def test_wrong_rows_are_refused_and_change_nothing(tmp_path, change, message):
    EPISODES.write(tmp_path, [ROW])
    with pytest.raises(ValueError) as caught:
        EPISODES.write(tmp_path, [ROW, ROW | change])
    assert str(caught.value).startswith(message)
    assert EPISODES.read(tmp_path) == [ROW | UNTOLD]


def test_damaged_episodes_are_one_clear_line(tmp_path):
    path = tmp_path / "episodes.parquet"
    with pytest.raises(
        ValueError, match="episodes.parquet is missing; expected a Parquet file with the columns episode,"
    ):
        EPISODES.read(tmp_path)
    EPISODES.write(tmp_path, [ROW])
    whole = path.read_bytes()
    for content in (b"", b"PAR1", whole[: len(whole) // 2], whole[:60] + bytes(60) + whole[120:]):
        path.write_bytes(content)
        with pytest.raises(ValueError) as caught:
            EPISODES.read(tmp_path)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)


def test_episodes_with_other_columns_are_refused(tmp_path):
    pq.write_table(pa.table({"episode": [1]}), tmp_path / "episodes.parquet")
    with pytest.raises(ValueError, match="has episode: int64; expected episode: int32 seed: int64"):
        EPISODES.read(tmp_path)
