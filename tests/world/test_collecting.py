"""Collected datasets: the reference's alignment of rows, and episodes that depend on their seeds alone."""

import dataclasses
import json
import os
import signal

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from goal_env import GoalEnv, unchecked_types

import envs_mjx
from swmjax.data import decode_jpeg, get_format
from swmjax.models.actor import Actor
from swmjax.policies import ExpertPolicy, RandomPolicy
from swmjax.runs.interrupts import Stopped
from swmjax.runs.watched import Watched
from swmjax.world import collect

lance = pytest.importorskip("lance", reason="needs pylance: pip install 'swmjax[data]'")
ENV = GoalEnv(gain=0.1)


class DictEnv(GoalEnv):
    """The point environment whose actions have a name."""

    action_space = gymnasium.spaces.Dict({"force": GoalEnv().action_space})


def collected(path, count, **options):
    """Columns as arrays, images decoded."""
    settings = {"max_steps": 6, "seed": 3, "image_size": 8, "batch_size": 3} | options
    policy = settings.pop("policy", RandomPolicy.of(ENV.action_space))
    assert collect(ENV, policy, path, count, **settings) == count
    table = lance.dataset(str(path)).to_table()
    columns = {name: table.column(name).to_pylist() for name in table.column_names}
    if "pixels" in columns:
        columns["pixels"] = [decode_jpeg(data) for data in columns["pixels"]]
    return {name: np.array(column) for name, column in columns.items()}


def assert_equal(column, other):
    """Columns are equal to the bit, NaN included."""
    np.testing.assert_array_equal(np.array(column.to_pylist()), np.array(other.to_pylist()))


def test_rows_are_aligned_as_in_the_reference(tmp_path):
    data = collected(tmp_path / "set.lance", 5)
    assert list(data) == [
        "episode_idx", "step_idx", "distance", "render_time", "pixels", "x", "reward", "terminated", "truncated",
        "action", "id", "seed",
    ]  # fmt: skip
    ended_early = 0
    for number in range(5):
        rows = {name: column[data["episode_idx"] == number] for name, column in data.items()}
        length = len(rows["x"])
        np.testing.assert_array_equal(rows["step_idx"], np.arange(length))
        np.testing.assert_array_equal(np.isnan(rows["action"][:, 0]), np.arange(length) == length - 1)
        np.testing.assert_array_equal(np.isnan(rows["reward"][:, 0]), np.arange(length) == 0)
        np.testing.assert_allclose(np.diff(rows["x"], axis=0), 0.1 * rows["action"][:-1], atol=1e-6)
        np.testing.assert_allclose(rows["reward"][1:], -rows["distance"][1:])
        assert not rows["terminated"][1:-1].any()
        assert not rows["truncated"][:-1].any()
        assert rows["terminated"][-1] + rows["truncated"][-1] == 1
        assert rows["truncated"][-1] == (length == 7 and rows["distance"][-1] >= 0.1)
        assert set(rows["seed"]) == {3 + number}
        assert set(rows["id"]) == {np.random.default_rng(3 + number).integers(2**63)}
        ended_early += length < 7
        start = ENV.reset(jax.random.key(3 + number))
        np.testing.assert_allclose(rows["x"][0], start.obs["x"])
    assert 0 < ended_early < 5
    assert len(np.unique(data["id"])) == 5
    assert data["pixels"].shape[1:] == (8, 8, 3)
    np.testing.assert_allclose(data["pixels"], 255, atol=1)


def test_episodes_depend_on_their_seeds_alone(tmp_path):
    whole = collected(tmp_path / "whole.lance", 5, image_size=None)
    assert "pixels" not in whole
    collect(ENV, RandomPolicy.of(ENV.action_space), tmp_path / "parts.lance", 2, max_steps=6, seed=3, image_size=None)
    parts = collected(tmp_path / "parts.lance", 3, image_size=None, seed=5, mode="append", batch_size=1)
    for name, column in whole.items():
        np.testing.assert_allclose(column, parts[name], rtol=1e-6)


def test_sampled_factors_become_columns(tmp_path):
    data = collected(tmp_path / "set.lance", 3, variation=("shade",))
    shades = data["variation_shade"][:, 0]
    assert "variation_start_x" not in data
    assert len(np.unique(shades)) == 3
    np.testing.assert_allclose(data["pixels"][:, 0, 0, 0], np.floor(255 * shades), atol=2)


def test_the_expert_acts_with_noise(tmp_path):
    one = jnp.ones(1)
    weights = {"kernels": (jnp.array([[1.0, 0.0]]),), "biases": (jnp.array([0.2, 0.0]),)}
    actor = Actor(mean=0 * one, std=one, **weights, low=-one, high=one, observations=("x",), activation="relu")
    policy = ExpertPolicy(actor, deterministic=True, noise=0.1)
    data = collected(tmp_path / "set.lance", 4, policy=policy, image_size=None)
    acted = ~np.isnan(data["action"][:, 0])
    mode = np.asarray(policy.actor.mode({"x": jnp.asarray(data["x"][acted], jnp.float32)}))
    noise = data["action"][acted] - mode
    assert 0.02 < noise.std() < 0.3
    assert len(np.unique(noise)) > 3


def stopped_after(count):
    """Progress that asks the run to stop when so many episodes are done."""

    def progress(stage, done):
        if (stage, done) == ("episodes", count):
            os.kill(os.getpid(), signal.SIGINT)

    return progress


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A dataset of five episodes that was made at once."""
    path = tmp_path_factory.mktemp("whole") / "set.lance"
    collect(ENV, RandomPolicy.of(ENV.action_space), path, 5, **GOES_ON)
    return lance.dataset(str(path)).to_table()


GOES_ON = {"max_steps": 6, "image_size": 8, "batch_size": 3, "variation": ("shade",)}


@pytest.mark.parametrize("mode", ["error", "overwrite", "append"])
def test_the_same_call_goes_on_and_ends_with_the_same_dataset(tmp_path, whole, mode):
    path, said, policy = tmp_path / "set.lance", [], RandomPolicy.of(ENV.action_space)
    before = 0 if mode == "error" else 2
    if before:
        collect(ENV, policy, path, before, **GOES_ON, seed=5)
    first = before if mode == "append" else 0

    def again(progress=lambda *_: None, env=ENV, **changes):
        arguments = {"episodes": 5, "mode": mode, "progress": progress, "note": said.append} | GOES_ON | changes
        return collect(env, policy, path, **arguments | ({"seed": 0} if mode == "append" else {}))

    for stop, kept in ((1, 0), (3, 1), (4, 3)):
        with pytest.raises(Stopped) as stopped:
            again(stopped_after(stop))
        assert stopped.value.done == stop
        notes = [f"{path} holds {kept} of these 5 episodes, from a run that was stopped; collecting the others"]
        assert said == (notes if kept else [])
        said.clear()
    if mode == "error":
        for changes in ({"episodes": 6}, {"max_steps": 7}, {"seed": 1}, {"env": GoalEnv(gain=0.2)}):
            with pytest.raises(FileExistsError):
                again(**changes)
    assert again() == 5
    found = lance.dataset(str(path)).to_table()
    assert sorted(set(found.column("episode_idx").to_pylist())) == list(range(first + 5))
    rows = found.filter(pc.field("episode_idx") >= first)
    for name in set(whole.column_names) - {"episode_idx", "render_time"}:
        assert_equal(rows.column(name), whole.column(name))
    if mode == "error":
        with pytest.raises(FileExistsError, match="exists; append to it or overwrite it"):
            again()


def test_a_dataset_remembers_no_more_than_how_it_was_made(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    path = tmp_path / "set.lance"
    collect(ENV, RandomPolicy.of(ENV.action_space), path, 2, max_steps=2, image_size=None, seed=4)
    record = json.loads(lance.dataset(str(path)).schema.metadata[b"swmjax.record"])
    assert record == {
        "env": {"class": "goal_env.GoalEnv", "gain": 0.1},
        "policy": {
            "class": "swmjax.policies.random.RandomPolicy",
            "actions": {"class": "swmjax.policies.base.ActionBox", "low": [-1.0], "high": [1.0]},
        },
        "max_steps": 2, "image_size": None, "variation": None, "seed": 4, "episodes": 2, "first_episode": 0,
    }  # fmt: skip


def test_growing_does_not_repeat_episodes(tmp_path):
    path, policy = tmp_path / "set.lance", RandomPolicy.of(ENV.action_space)
    options = {"max_steps": 2, "image_size": None, "mode": "append"}

    def seeds():
        table = lance.dataset(str(path)).to_table(columns=["seed"], filter="step_idx = 0")
        return table.column("seed").to_pylist()

    for _ in range(2):
        collect(ENV, policy, path, 2, **options)
    assert seeds() == [0, 1, 2, 3]
    collect(ENV, policy, path, 2, **options, seed=10)
    with pytest.raises(ValueError) as caught:
        collect(ENV, policy, path, 3, **options, seed=8)
    assert str(caught.value) == (
        f"{path}: 3 episodes from seed 8 on have the seeds 8 to 10, but the dataset holds those of 0 to 3, 10 to 11 "
        "already; allowed is a seed from 12 on, or none to go on there"
    )
    collect(ENV, policy, path, 2, **options, seed=2**31 - 2)
    with pytest.raises(ValueError, match="holds episodes with seeds up to 2147483647, after which 1 more do not fit"):
        collect(ENV, policy, path, 1, **options)
    collect(ENV, policy, path, 2, **options, seed=8)
    assert seeds() == [0, 1, 2, 3, 10, 11, 2**31 - 2, 2**31 - 1, 8, 9]


def test_a_dataset_without_seeds_needs_to_be_told(tmp_path):
    """As the reference and release 0.1.0 wrote them: no seeds, and `id` rounded to float32."""
    path, policy = tmp_path / "set.lance", RandomPolicy.of(ENV.action_space)
    options = {"max_steps": 2, "image_size": None, "mode": "append"}
    collect(ENV, policy, tmp_path / "new.lance", 2, **options)
    old = lance.dataset(str(tmp_path / "new.lance")).to_table().drop_columns(["seed"]).replace_schema_metadata()
    rounded = pa.array(old.column("id").to_numpy().astype(np.float32))
    at = old.column_names.index("id")
    lance.write_dataset(old.set_column(at, "id", pa.FixedSizeListArray.from_arrays(rounded, 1)), str(path))
    with pytest.raises(ValueError, match="has no column seed, so there is no telling which seeds its 2 episodes"):
        collect(ENV, policy, path, 2, **options)
    said = []
    collect(ENV, policy, path, 2, **options, seed=0, note=said.append)
    assert said == [f"{path} has no column seed, so whether it holds these episodes already cannot be checked"]
    table = lance.dataset(str(path)).to_table()
    assert table.schema.names == old.column_names
    rows = table.num_rows // 2
    for name in set(table.column_names) - {"episode_idx"}:
        assert_equal(table.column(name)[rows:], table.column(name)[:rows])


def test_whole_actions_are_written_as_numbers(tmp_path):
    env = envs_mjx.make("swm/MountainCarControl-v0")
    path = tmp_path / "set.lance"
    collect(env, RandomPolicy.of(env.action_space), path, 3, max_steps=9, image_size=None)
    dataset = lance.dataset(str(path))
    assert dataset.schema.field("action").type == pa.list_(pa.float32(), 1)
    actions = np.array(dataset.to_table().column("action").to_pylist()).reshape(3, 10)
    assert np.isnan(actions[:, -1]).all()
    assert set(actions[:, :-1].flat) == {0.0, 1.0, 2.0}


def test_images_of_another_size_are_refused_before_they_are_made(tmp_path, monkeypatch):
    path, policy = tmp_path / "set.lance", RandomPolicy.of(ENV.action_space)
    collect(ENV, policy, path, 1, max_steps=2, image_size=8)
    monkeypatch.setattr(Watched, "compile", None)
    with pytest.raises(ValueError, match="the images of pixels are 8 x 8 px with 3 channels, got 12 x 12 px"):
        collect(ENV, policy, path, 1, max_steps=2, image_size=12, mode="append")
    with pytest.raises(ValueError, match=r"unexpected columns \['variation_shade'\]"):
        collect(ENV, policy, path, 1, max_steps=2, image_size=8, mode="append", variation=("shade",))
    assert lance.dataset(str(path)).version == 1


def test_what_was_committed_before_the_disk_was_full_is_kept(tmp_path, monkeypatch):
    path, policy = tmp_path / "set.lance", RandomPolicy.of(ENV.action_space)
    monkeypatch.setattr("swmjax.data.formats.groups.BYTES", 1)
    write, groups = lance.fragment.write_fragments, []

    def full(*args, **options):
        groups.append(args)
        if len(groups) == 3:
            raise OSError("LanceError(IO): Generic LocalFileSystem error: No space left on device (os error 28)")
        return write(*args, **options)

    monkeypatch.setattr(lance.fragment, "write_fragments", full)
    with pytest.raises(OSError) as caught:
        collect(ENV, policy, path, 5, max_steps=2, image_size=None)
    said = "No space left on device; 2 of 5 episodes are kept, and the same call collects the others"
    assert (caught.value.errno, caught.value.strerror, caught.value.filename) == (28, said, str(path))
    assert collect(ENV, policy, path, 5, max_steps=2, image_size=None) == 5


@pytest.mark.parametrize(
    ("format", "name"), [("hdf5", "set.h5"), ("folder", "set"), ("video", "clips"), ("lance_video", "frames")]
)
def test_a_collection_goes_on_in_any_format(tmp_path, format, name):
    pytest.importorskip("h5py", reason="needs h5py: pip install 'swmjax[formats]'")
    pytest.importorskip("av", reason="needs av: pip install 'swmjax[formats]'")
    policy, options = RandomPolicy.of(ENV.action_space), {"max_steps": 4, "image_size": 8, "format": format}
    with pytest.raises(Stopped):
        collect(ENV, policy, tmp_path / name, 5, **options, progress=stopped_after(3))
    notes = []
    assert collect(ENV, policy, tmp_path / name, 5, **options, note=notes.append) == 5
    assert "holds 3 of these 5 episodes, from a run that was stopped" in notes[0]
    assert collect(ENV, policy, tmp_path / name, 2, **options, mode="append") == 2
    collect(ENV, policy, tmp_path / "whole" / name, 7, **options)
    stopped, whole = (get_format(format).reader(path) for path in (tmp_path / name, tmp_path / "whole" / name))
    assert stopped.lengths.tolist() == whole.lengths.tolist()
    assert set(stopped.columns) == set(whole.columns)
    names = [each for each in stopped.columns if each != "render_time"]
    for each, array in stopped.read(names, np.arange(stopped.rows)).items():
        np.testing.assert_array_equal(array, whole.read([each], np.arange(stopped.rows))[each], err_msg=each)


def test_interruptions_keep_whole_episodes_and_errors_nothing(tmp_path):
    path = tmp_path / "set.lance"
    policy = RandomPolicy.of(ENV.action_space)

    options = {"max_steps": 4, "image_size": None}
    with pytest.raises(Stopped) as stopped:
        collect(ENV, policy, path, 5, **options, progress=stopped_after(3))
    options["max_steps"] = 6
    assert stopped.value.done == 3
    assert set(lance.dataset(str(path)).to_table().column("episode_idx").to_pylist()) == {0, 1, 2}

    def broken(stage, done):
        if done == 2:
            raise RuntimeError("no more")

    for mode in ("append", "overwrite"):
        with pytest.raises(RuntimeError, match="no more"):
            collect(ENV, policy, path, 5, **options, mode=mode, progress=broken)
        assert lance.dataset(str(path)).version == 1
        assert [entry.name for entry in tmp_path.iterdir()] == ["set.lance"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"episodes": 0}, "episodes must be an integer of at least 1, got 0"),
        ({"max_steps": 0}, "max_steps must be an integer of at least 1, got 0"),
        ({"seed": -1}, "seed must be an integer of at least 0"),
        ({"image_size": 0}, "image_size must be an integer of at least 1, got 0"),
        ({"variation": ("shape",)}, "unknown factor"),
        (
            {"env": DictEnv()},
            "DictEnv has the actions Dict('force': Box(-1.0, 1.0, (1,), float32)); datasets hold those",
        ),
        ({"path": "set.txt"}, "set.txt: the name of a dataset must end in .lance"),
    ],
)
def test_mistakes(tmp_path, changes, message):
    arguments = {"env": ENV, "policy": RandomPolicy.of(ENV.action_space), "episodes": 1, "path": tmp_path / "set.lance"}
    with unchecked_types(), pytest.raises(ValueError) as caught:
        collect(**arguments | changes)
    assert message in str(caught.value)
    assert list(tmp_path.iterdir()) == []


GOLDEN_PUSHT = {
    "pos_agent": 2, "vel_agent": 2, "block_pose": 3, "goal_pose": 3, "goal_state": 7, "goal_proprio": 4,
    "n_contacts": 1, "goal": None, "render_time": 1, "pixels": None, "proprio": 4, "state": 7, "reward": 1,
    "terminated": 1, "truncated": 1, "action": 2, "id": None,
}  # fmt: skip
"""Columns of a PushT dataset that the reference recorded, with their sizes; None for images and whole numbers."""


@pytest.mark.slow
def test_pusht_has_the_columns_of_the_reference(tmp_path):
    env = envs_mjx.make("swm/PushT-v1", agent_shapes="circle")
    collect(env, RandomPolicy.of(env.action_space), tmp_path / "set.lance", 2, max_steps=3, image_size=64)
    schema = lance.dataset(str(tmp_path / "set.lance")).schema
    found = {field.name: getattr(field.type, "list_size", None) for field in schema}
    assert found == {"episode_idx": None, "step_idx": None} | GOLDEN_PUSHT | {"seed": None}
    images = [name for name in found if schema.field(name).type == "binary"]
    assert sorted(images) == ["goal", "pixels"]


@pytest.mark.slow
def test_a_task_of_the_control_suite(tmp_path):
    env = envs_mjx.make("swm/PendulumDMControl-v0", resolution=64)
    collect(env, RandomPolicy.of(env.action_space), tmp_path / "set.lance", 2, max_steps=3, image_size=32)
    table = lance.dataset(str(tmp_path / "set.lance")).to_table()
    assert table.num_rows == 8
    frames = [decode_jpeg(data) for data in table.column("pixels").to_pylist()]
    assert np.shape(frames) == (8, 32, 32, 3)
    assert np.std(frames) > 1
    assert {"qpos", "qvel", "observation", "score"} <= set(table.column_names)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Broken(RandomPolicy):
    """Random actions that are NaN where the state is beyond a limit."""

    limit: float = 0.0

    @property
    def inputs(self):
        return ("x",)

    def act(self, carry, obs, alive):
        actions, carry = super().act(carry, obs, alive)
        return jnp.where(obs["x"] > self.limit, jnp.nan, actions), carry


def test_a_policy_whose_actions_are_none_collects_nothing(tmp_path):
    notes, actions = [], RandomPolicy.of(ENV.action_space).actions
    with pytest.raises(ValueError, match="every action of the policy is refused .*18 so far"):
        collected(tmp_path / "none.lance", 4, policy=Broken(actions, -100.0))
    assert list(tmp_path.iterdir()) == []
    data = collected(tmp_path / "some.lance", 4, policy=Broken(actions, 0.5), note=notes.append, image_size=None)
    (note,) = notes
    bad = int(np.isnan(data["action"]).sum()) - 4
    assert note.startswith(f"{bad} of {len(data['action']) - 4} actions were refused by the environment: not finite")
    assert bad > 0


def test_another_environment_is_not_appended(tmp_path):
    path = tmp_path / "set.lance"
    collected(path, 2)
    with pytest.raises(ValueError, match="holds episodes of .*GoalEnv, to which none of .*OtherEnv are appended"):
        collect(OtherEnv(gain=0.1), RandomPolicy.of(ENV.action_space), path, 2, mode="append", image_size=8)


class OtherEnv(GoalEnv):
    """The same under another name."""
