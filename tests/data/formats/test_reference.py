"""Both ways between this library and the installed reference, in all formats that run there."""

import numpy as np
import pytest
from data_episodes import episode, every_episode_a_group, frames, npz, write
from reference import run_reference

from swmjax.data.formats import get_format
from swmjax.data.windows import Windows

pytest.importorskip("h5py", reason="needs h5py: pip install 'swmjax[formats]'")
pytest.importorskip("av", reason="needs av: pip install 'swmjax[formats]'")

pytestmark = pytest.mark.reference

PATHS = {"lance": "set.lance", "hdf5": "set.h5", "folder": "set", "video": "clips"}
AWAY = {"lance": 2, "hdf5": 0, "folder": 2, "video": 4}
"""How far apart the levels of pixels may be: decoders round differently."""
SPAN = {"num_steps": 3, "frameskip": 2}

_THERE = """
import importlib.util
from stable_worldmodel.data import list_formats
needs = {"video": ["decord", "imageio_ffmpeg"], "hdf5": ["h5py"]}
print(*(form for form in list_formats() if all(importlib.util.find_spec(name) for name in needs.get(form, []))))
"""
_READ = """
import sys
import numpy as np
from stable_worldmodel.data import load_dataset
path, form, target = sys.argv[1:4]
more = {"video_keys": ["pixels"]} if form == "video" else {}
dataset = load_dataset(path, format=form, num_steps=3, frameskip=2, **more)
windows = [dataset[i] for i in range(len(dataset))]
found = {"lengths": np.asarray(dataset.lengths)}
for name in dataset.column_names:
    values = [window[name] for window in windows]
    found["column " + name] = np.array(values) if isinstance(values[0], str) else np.stack([v.numpy() for v in values])
np.savez(target, **found)
"""
_WRITE = """
import sys
import numpy as np
from stable_worldmodel.data import get_format
path, form, source = sys.argv[1:4]
stored = np.load(source)
with get_format(form).open_writer(path) as writer:
    for number in range(int(stored["episodes"])):
        mark = f"{number} "
        writer.write_episode({name[len(mark):]: list(stored[name]) for name in stored.files if name.startswith(mark)})
"""


@pytest.fixture(scope="module")
def there():
    return run_reference(_THERE).strip().splitlines()[-1].split()


@pytest.fixture(params=PATHS)
def form(request, there):
    if request.param not in there:
        pytest.skip(f"the installed reference has no {request.param}, or lacks what that needs")
    return request.param


def made(form, *lengths):
    """Episodes; decord reads no videos of narrow frames, and the reference writes multiples of 16 px."""
    episodes = [episode(length, i + 1) for i, length in enumerate(lengths)]
    if form == "video":
        return [one | {"pixels": frames(len(one["action"]), i, (64, 64))} for i, one in enumerate(episodes)]
    return episodes


def compare(form, path, tmp_path):
    """Every window of both is the same."""
    run_reference(_READ, path, form, tmp_path / "windows.npz")
    expected = npz(tmp_path / "windows.npz")
    dataset = Windows(get_format(form).reader(path), **SPAN)
    assert dataset.lengths.tolist() == expected["lengths"].tolist()
    assert {f"column {name}" for name in dataset.column_names} == set(expected) - {"lengths"}
    for name, column in dataset.columns.items():
        stored = expected[f"column {name}"]
        assert len(stored) == len(dataset)
        for i, window in enumerate(dataset[i] for i in range(len(dataset))):
            if column.kind == "image":
                assert window[name].shape == stored[i].shape
                assert np.abs(window[name].astype(int) - stored[i]).max() <= AWAY[form], (name, i)
            else:
                np.testing.assert_array_equal(window[name], stored[i], err_msg=f"{name} {i}")


def test_the_reference_reads_what_is_written_here(form, tmp_path):
    path = tmp_path / PATHS[form]
    episodes = made(form, 9, 3, 6)
    with every_episode_a_group():
        write(form, path, episodes[:2])
    write(form, path, episodes[2:], "append")
    compare(form, path, tmp_path)


def test_what_the_reference_writes_is_read_and_appended_to_here(form, tmp_path):
    path = tmp_path / PATHS[form]
    episodes = made(form, 9, 3, 6)
    if form in ("lance", "hdf5"):  # which drop, or cannot store, texts there
        episodes = [{name: column for name, column in one.items() if name != "task"} for one in episodes]
    stored = {f"{i} {name}": np.asarray(column) for i, one in enumerate(episodes[:2]) for name, column in one.items()}
    np.savez(tmp_path / "episodes.npz", episodes=2, **stored)
    run_reference(_WRITE, path, form, tmp_path / "episodes.npz")
    compare(form, path, tmp_path)
    write(form, path, episodes[2:], "append")
    compare(form, path, tmp_path)


def test_the_reference_appends_to_what_is_written_here(form, tmp_path):
    path = tmp_path / PATHS[form]
    episodes = made(form, 5, 6)
    if form == "lance":
        episodes = [{name: one[name] for name in ("pixels", "agent", "action", "terminated")} for one in episodes]
    write(form, path, episodes[:1])
    more = dict(episodes[1])
    if form != "lance":
        more |= {"episode_idx": np.full(6, 1), "step_idx": np.arange(6)}
    np.savez(
        tmp_path / "episodes.npz", episodes=1, **{f"0 {name}": np.asarray(column) for name, column in more.items()}
    )
    run_reference(_WRITE, path, form, tmp_path / "episodes.npz")
    compare(form, path, tmp_path)
