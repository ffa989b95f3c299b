"""The loader: every window once an epoch, the same batches however they are loaded, and never a hang."""

import itertools
import os
import subprocess
import sys
import textwrap

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest
from data_arrays import arrays

from envs_mjx.checks import UserError
from swmjax.data import GoalDataset, Loader, ReplayBuffer, Windows

grain = pytest.importorskip("grain", reason="needs grain: pip install 'swmjax[data]'")

LENGTHS = (12, 3, 9, 7)


def windows(**options):
    """Windows whose rewards tell where they begin, by the row."""
    reader = arrays(LENGTHS)
    reader.arrays["reward"][:] = np.arange(sum(LENGTHS))
    return Windows(reader, 2, 2, **options)


def begins(batches):
    return [batch["reward"][:, 0].astype(int).tolist() for batch in batches]


def joined(lists):
    return list(itertools.chain.from_iterable(lists))


ALL = [
    row for offset, length in zip((0, 12, 15, 24), LENGTHS, strict=True) for row in range(offset, offset + length - 3)
]


def test_every_window_comes_once_an_epoch_in_another_order_each_time():
    dataset = windows()
    assert len(dataset) == len(ALL)
    loader = Loader(dataset, 4, epochs=2, drop_remainder=False)
    found = begins(loader)
    assert len(loader) == 5
    assert [len(batch) for batch in found] == [4, 4, 4, 4, len(ALL) - 16] * 2
    first, second = joined(found[:5]), joined(found[5:])
    assert sorted(first) == sorted(second) == sorted(ALL)
    assert len({tuple(first), tuple(second), tuple(ALL)}) == 3
    assert begins(Loader(dataset, 4, epochs=2, drop_remainder=False, ahead=5)) == found
    assert begins(Loader(dataset, 4, epochs=1, seed=1)) != found[:4]
    assert begins(Loader(dataset, 4, epochs=1, shuffle=False)) == np.reshape(ALL[:16], (4, 4)).tolist()


def test_no_order_of_an_epoch_is_that_of_another_seed():
    orders = [tuple(joined(begins(Loader(windows(), 8, epochs=1, seed=seed)))) for seed in range(4)]
    orders += [tuple(joined(begins(Loader(windows(), 8, epochs=2, seed=seed))[2:])) for seed in range(4)]
    assert len(set(orders)) == 8


def test_batches_are_those_of_the_dataset_with_images_height_first():
    dataset = windows()
    for batch in Loader(dataset, 5, epochs=1):
        numbers = np.searchsorted(ALL, batch["reward"][:, 0])
        expected = dataset.batch(numbers)
        assert list(batch) == list(expected)
        np.testing.assert_array_equal(batch.pop("pixels"), np.moveaxis(expected.pop("pixels"), 2, -1))
        for name, array in expected.items():
            np.testing.assert_array_equal(batch[name], array)


@pytest.mark.parametrize(("steps", "device"), [(0, True), (1, False), (5, True), (8, False), (12, True)])
def test_it_goes_on_with_the_exact_batch_behind_a_state_that_orbax_has_kept(tmp_path, steps, device):
    def loader(ahead):
        return Loader(windows(), 4, epochs=3, ahead=ahead, device=jax.devices()[0] if device else None)

    whole = begins(loader(2))
    with iter(loader(2)) as batches:
        assert begins(next(batches) for _ in range(steps)) == whole[:steps]
        state = batches.get_state()
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", state)
        checkpointer.wait_until_finished()
        kept = checkpointer.restore(tmp_path / "state")
    with iter(loader(3)) as batches:
        next(batches)
        batches.set_state(kept)
        assert begins(batches) == whole[steps:]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"batch_size": 8}, "the state is of a loader with batch_size 8; this one has 4"),
        ({"seed": 3}, "the state is of a loader with seed 3; this one has 0"),
        ({"shuffle": 0}, "the state is of a loader with shuffle 0; this one has 1"),
        ({"windows": 9}, "the state is of a loader with windows 9; this one has 19"),
        ({"batch": 99}, "the batch of a loader's state must be a whole number from 0 to 4, got 99"),
        ({"more": 1}, "a loader's state has batch, batch_size, seed, shuffle, windows; got batch"),
    ],
)
def test_a_state_of_other_batches_is_refused(change, says):
    with iter(Loader(windows(), 4, epochs=1)) as batches, pytest.raises(UserError, match=says):
        batches.set_state({**batches.get_state(), **change})


def test_processes_get_disjoint_parts_of_the_same_batches():
    whole = begins(Loader(windows(), 6, epochs=2))
    parts = [begins(Loader(windows(), 6, epochs=2, shard=(i, 3))) for i in range(3)]
    assert [joined(part[i] for part in parts) for i in range(len(whole))] == whole
    one, three = (iter(Loader(windows(), 6, epochs=2, shard=shard)) for shard in ((0, 1), (1, 3)))
    next(one)
    three.set_state(one.get_state())
    assert begins(three) == parts[1][1:]


def test_goals_are_drawn_by_the_number_of_the_batch():
    def goals(ahead, skip=0, seed=0):
        dataset = GoalDataset(windows(), (1.0, 0.0, 0.0, 0.0), goal_keys={"reward": "goal"}, seed=5)
        batches = iter(Loader(dataset, 4, epochs=2, ahead=ahead, seed=seed))
        if skip:
            batches.set_state({**batches.get_state(), "batch": skip})
        return [batch["goal"][:, 0].tolist() for batch in batches]

    first = goals(1)
    assert goals(4) == first
    assert goals(2, skip=3) == first[3:]
    assert goals(1, seed=1) != first


def test_batches_that_are_held_keep_what_is_in_them():
    loader = Loader(windows(), 4, epochs=4)
    held = list(loader)
    assert begins(held) == begins(loader)
    pixels = {batch["pixels"].__array_interface__["data"][0] for batch in held}
    assert len(pixels) == len(held)


@pytest.mark.parametrize("kind", ["device", "sharding"])
def test_batches_go_to_the_device(kind):
    device = jax.devices()[0]
    if kind == "sharding":
        mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
        device = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    on_host, on_device = (Loader(windows(), 4, epochs=2, device=one) for one in (None, device))
    held = list(on_device)
    assert len(held) == 8
    for batch, expected in zip(held, on_host, strict=True):
        assert list(batch) == list(expected)
        for name, array in expected.items():
            if name == "text":
                assert batch[name].tolist() == array.tolist()
                continue
            assert isinstance(batch[name], jax.Array)
            np.testing.assert_array_equal(batch[name], array.astype(batch[name].dtype))


def test_transformed_windows_and_replay_buffers_load_as_well():
    plain = windows()
    changed = windows(transform=lambda window: {**window, "action": window["action"] * 2, "new": np.float32(1)})
    for batch, expected in zip(Loader(changed, 4, epochs=1), Loader(plain, 4, epochs=1), strict=True):
        np.testing.assert_array_equal(batch["action"], expected["action"] * 2)
        np.testing.assert_array_equal(batch["pixels"], expected["pixels"])
        assert batch["new"].shape == (4,)
    buffer = ReplayBuffer(40, 2, 2)
    for first, length in zip(plain.offsets, LENGTHS, strict=True):
        buffer.write_episode({name: column[first : first + length] for name, column in plain.reader.arrays.items()})
    for batch, expected in zip(Loader(buffer, 4, epochs=1), Loader(plain, 4, epochs=1), strict=True):
        assert set(batch) == set(expected)
        for name, array in expected.items():
            np.testing.assert_array_equal(batch[name], array)


def test_windows_are_a_source_for_grain_itself():
    found = grain.MapDataset.source(windows(keys_to_load=["reward"])).shuffle(seed=0).batch(4)
    assert sorted(np.concatenate([batch["reward"][:, 0] for batch in found]).tolist()) == ALL
    more = Loader(windows(), 4, epochs=1).source.map(lambda batch: batch["reward"].sum())
    assert sum(more) == sum(batch["reward"].sum() for batch in Loader(windows(), 4, epochs=1))


def test_a_batch_that_fails_fails_again_and_is_not_skipped():
    dataset, broken = windows(), [True]
    read = dataset.reader.read

    def fail(columns, rows, out=None):
        if broken[0] and 20 in rows:
            raise UserError("row 20 is damaged")
        return read(columns, rows, out)

    dataset.reader.read = fail
    expected = begins(Loader(windows(), 4, epochs=1, shuffle=False))
    for device in (None, jax.devices()[0]):
        broken[0] = True
        batches = iter(Loader(dataset, 4, epochs=1, shuffle=False, device=device))
        found = begins([next(batches), next(batches)])
        for _ in range(2):
            with pytest.raises(UserError, match="row 20 is damaged"):
                next(batches)
        broken[0] = False
        assert found + begins(batches) == expected


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1, got 0"),
        ({"batch_size": 20}, "the dataset has 19 windows, which do not fill a batch of 20"),
        ({"seed": -1}, "seed must be a whole number of at least 0, got -1"),
        ({"epochs": 0}, "epochs must be a whole number of at least 1, got 0"),
        ({"ahead": 0}, "ahead must be a whole number of at least 1, got 0"),
        ({"shard": (3, 3)}, "the first number of shard must be a whole number from 0 to 2, got 3"),
        ({"shard": (0, 3)}, r"batch_size must be a multiple of the number of processes \(3\), got 4"),
        ({"shard": (0, 2), "drop_remainder": False}, "drop_remainder must be true for more than one process"),
    ],
)
def test_what_cannot_be_loaded_is_refused(options, says):
    with pytest.raises(UserError, match=says):
        Loader(windows(), **{"batch_size": 4, **options})


_PROGRAM = """
import sys, threading
import jax, numpy as np
sys.path.insert(0, {tests!r})
from data_arrays import arrays
from swmjax.data import Loader, Windows

forks = []
sys.addaudithook(lambda event, _: forks.append(event) if event in ("os.fork", "os.forkpty") else None)
device = jax.devices()[0]
loader = Loader(Windows(arrays((40, 30)), 4, 5), 8, device=device)
compute = jax.jit(lambda batch: batch["pixels"].sum() + batch["action"].sum())
for _ in range(3):
    for number, batch in enumerate(loader):
        compute({{name: batch[name] for name in ("pixels", "action")}}).block_until_ready()
        if number == 20:
            break
held = iter(loader)
next(held)
assert not forks, forks
print("loaded", flush=True)
{end}
"""


_ENDS = ("raise SystemExit(0)", "held.close()", "del held, loader")


@pytest.mark.parametrize("end", ["", *(pytest.param(end, marks=pytest.mark.slow) for end in _ENDS)])
def test_no_loader_hangs_and_nothing_forks(end):
    """With JAX at work, and however the program ends: in the middle of an epoch, with batches under way."""
    program = textwrap.dedent(_PROGRAM).format(tests=os.path.dirname(__file__) + "/..", end=end)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout) == (0, "loaded\n"), done.stderr[-2000:]
    assert "rror" not in done.stderr
