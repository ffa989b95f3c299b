"""Disks that are full, small or read-only: one line, before anything is computed where that can be known."""

import contextlib
import os
import resource
import shutil
import subprocess
from pathlib import Path

import jax
import numpy as np
import pytest
from command_line import Command
from goal_env import registered, unchecked_types
from omegaconf import OmegaConf
from tiny_training import settings

from swmjax.runs import files
from swmjax.runs.table import Table
from swmjax.runs.watched import Watched
from swmjax.world import RunFolder

GOLDEN = Path(__file__).parents[1] / "golden"
EVAL = """
env: test/Goal-v0
model: oracle
env_options: {gain: 0.25}
episodes: 5
seed: 40
goal_offset: 4
budget: 4
batch_size: 2
video_episodes: 0
plan: {horizon: 2, receding_horizon: 1, action_block: 2}
solver: {name: cem, num_samples: 16, n_steps: 2, topk: 4}
"""
COLLECT = ["test/Goal-v0", "--max-steps=3", "--no-pixels", "--episodes=5", "--batch-size=3"]


@pytest.fixture(autouse=True)
def as_users(tmp_path, monkeypatch):
    """An empty current folder, files of settings beside it, and a toy environment; Brax relies on rank promotion."""
    (tmp_path / "eval.yaml").write_text(EVAL)
    (tmp_path / "train.yaml").write_text(OmegaConf.to_yaml(settings().to_dict()))
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("STABLEWM_HOME", str(tmp_path / "home"))
    with registered(), unchecked_types(), jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture
def disk(tmp_path):
    """A disk of 1 MB of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(place)], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip("mounting is not allowed here")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(disk):
    """Leave no byte of a disk."""
    with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
        while True:
            filler.write(bytes(4096))


@contextlib.contextmanager
def file_size(limit):
    """No file may become larger."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def nothing_computed():
    """Fail where a program is compiled or a model is read."""

    def compile(self, stage, *args, **options):
        raise AssertionError(f"{stage}, before it was known that nothing can be written")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Watched, "compile", compile)
        patch.setattr("swmjax.checkpoints.torch.importing.TorchCheckpoint", None)
        yield


def interrupted(*args, **options):
    raise KeyboardInterrupt


def commands(folder, settings):
    """Every command that writes, with its output in a folder."""
    return {
        "collect": [*COLLECT, f"--output={folder}/deep/set.lance"],
        "eval": [f"--config={settings}/eval.yaml", f"--output={folder}/deep/run"],
        "train-expert": [f"--config={settings}/train.yaml", f"--output={folder}/deep/run"],
        "import": [GOLDEN / "lewm_mini_hf4", f"{folder}/deep/model"],
        "export": [GOLDEN / "native_gcbc_0_1", f"{folder}/deep/model"],
    }


@pytest.mark.parametrize("name", commands("", ""))
def test_what_can_be_known_is_said_before_anything_is_computed(tmp_path, disk, name):
    command, arguments = Command(name), commands(disk, tmp_path)[name]
    with file_size(0), nothing_computed():
        assert command.refused(*arguments) == f"error: File too large: {disk}"
    fill(disk)
    with nothing_computed():
        assert command.refused(*arguments) == f"error: No space left on device: {disk}"
    (disk / "filler").unlink()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with nothing_computed():
        assert command.refused(*arguments) == f"error: Read-only file system: {disk}"
    assert list(disk.iterdir()) == []


def test_a_run_folder_is_looked_at_before_anything_is_computed(tmp_path, disk):
    run, folder = Command("eval"), RunFolder(disk / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Watched, "compile", interrupted)
        run.run(f"--config={tmp_path}/eval.yaml", f"--output={folder.path}", code=130)
    fill(disk)
    kept = f"what was finished is kept in {folder.path}; go on with `swmjax eval --resume {folder.path}`"
    with nothing_computed():
        assert run.refused(f"--resume={folder.path}") == f"error: No space left on device: {folder.path}; {kept}"
    shutil.rmtree(folder.path)
    with pytest.raises(FileNotFoundError, match="No such file or directory"):
        folder.check_writable()


def test_an_evaluation_goes_on_after_the_disk_was_full(tmp_path, disk, monkeypatch):
    write, command = Table.write, [f"--config={tmp_path}/eval.yaml", f"--output={disk}/run"]
    leftover = disk / "run" / f".episodes.{dead()}.parquet"

    def and_fill(self, run, rows):
        write(self, run, rows)
        leftover.touch()
        fill(disk)

    with monkeypatch.context() as patch:
        patch.setattr(Table, "write", and_fill)
        said = Command("eval").run(*command, code=2).stderr
    kept = f"what was finished is kept in {disk}/run; go on with `swmjax eval --resume {disk}/run`"
    assert said == f"error: No space left on device: {disk}/run/episodes.parquet; {kept}\n"
    (disk / "filler").unlink()
    resumed = Command("eval").run(*command)
    assert resumed.stderr.startswith(f"note: {disk}/run holds this run, which was stopped; going on with it")
    assert RunFolder(disk / "run").complete
    assert sorted(path.name for path in (disk / "run").iterdir()) == ["config.yaml", "episodes.parquet", "results.json"]
    assert "is not empty" in Command("eval").refused(*command)


def test_a_collection_goes_on_after_the_disk_was_full(disk, monkeypatch):
    lance = pytest.importorskip("lance", reason="needs pylance: pip install 'swmjax[data]'")
    command, path = [*COLLECT, f"--output={disk}/set.lance"], disk / "set.lance"
    commit, calls = lance.LanceDataset.commit, []

    def and_fill(*args, **options):
        calls.append(commit(*args, **options))
        if len(calls) == 2:
            fill(disk)
        return calls[-1]

    with monkeypatch.context() as patch:
        patch.setattr("swmjax.data.formats.groups.BYTES", 1)
        patch.setattr(lance.LanceDataset, "commit", and_fill)
        said = Command("collect").run(*command, code=2).stderr
    kept = "2 of 5 episodes are kept, and the same call collects the others"
    assert said == f"error: No space left on device; {kept}: {path}\n"
    assert set(lance.dataset(str(path)).to_table().column("episode_idx").to_pylist()) == {0, 1}
    assert len(list((path / "data").iterdir())) == 2
    (disk / "filler").unlink()
    assert Command("collect").run(*command).stdout == f"5 episodes of test/Goal-v0 written to {path}\n"


def test_a_checkpoint_that_does_not_fit_is_not_there(tmp_path, disk, monkeypatch):
    import orbax.checkpoint as ocp

    def fail(self, folder, arrays):
        # What a limit of 20 kB leads Orbax to; its threads go on complaining, so that it is not done to it here.
        folder.with_name(f"{folder.name}.orbax-checkpoint-tmp").mkdir()
        raise ValueError("OUT_OF_RANGE: Error writing \"a/0\" in OCDBT database: File too large [os_error_code='27']")

    with monkeypatch.context() as patch:
        patch.setattr(ocp.PyTreeCheckpointer, "save", fail)
        result = Command("import").run(GOLDEN / "lewm_mini_hf4", "mini", "--json", code=2)
    assert result.stderr == f"error: File too large: {tmp_path}/home/checkpoints/mini\n"
    assert [path for path in (tmp_path / "home").rglob("*") if path.name != "checkpoints"] == []
    (disk / "filler").write_bytes(bytes(900_000))
    for name, source in (("import", "lewm_mini_hf4"), ("export", "old_runs/checkpoints/lewm-mini")):
        result = Command(name).run(GOLDEN / source, f"{disk}/model", "--json", code=2)
        assert (result.stdout, result.stderr) == ("", f"error: No space left on device: {disk}\n")
        assert [path.name for path in disk.iterdir()] == ["filler"]


def test_a_full_compilation_cache_costs_nothing_but_time(disk, monkeypatch):
    fill(disk)
    jax.clear_caches()
    before = jax.config.jax_compilation_cache_dir
    from jax.experimental.compilation_cache import compilation_cache

    try:
        jax.config.update("jax_compilation_cache_dir", str(disk))
        compilation_cache.reset_cache()
        result = Command("collect").run(*COLLECT, "--output=set.lance")
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
        compilation_cache.reset_cache()
    assert result.stderr == ""


def dead():
    """The number of a process that is no more."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_leftovers_of_dead_processes_go_and_those_of_living_ones_stay(tmp_path):
    path, number = tmp_path / "results.json", dead()
    host = files.hidden(path).stem.partition("-")[2]
    gone = [f".results.{number}.json", f".results.{number}-{host}.json"]
    kept = [
        f".results.{number}-elsewhere.json", f".results.{os.getppid()}.json", f".results.{number}.old.json",
        f".other.{number}.json", f".results.{number}.yaml", f"results.{number}.json",
    ]  # fmt: skip
    for name in [*gone, *kept]:
        (tmp_path / name).touch()
    with files.replacing(path) as temporary:
        temporary.touch()
    found = {entry.name for entry in tmp_path.iterdir()}
    assert not found & set(gone)
    assert found >= {*kept, path.name}


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        OSError(28, "No space left on device", "PATH"),
        OSError("ffmpeg failed with status 1: av_interleaved_write_frame(): No space left on device"),
        ValueError("RESOURCE_EXHAUSTED: Failed to write 10130 bytes: No space left on device [os_error_code='28']"),
        RuntimeError("LanceError(IO): No space left on device (os error 28)"),
    ],
)
def test_what_the_system_says_is_heard_in_every_library(tmp_path, error):
    path = tmp_path / "file"
    if getattr(error, "filename", None):
        error.filename = str(files.hidden(path))
    with pytest.raises(OSError) as caught, files.disk_errors(path):
        raise error
    assert (caught.value.errno, caught.value.filename) == (28, str(path))


@pytest.mark.parametrize(
    "error", [FileNotFoundError(2, "No such file", "other"), ValueError("wrong"), np.exceptions.AxisError("x")]
)
def test_other_errors_stay_what_they_are(tmp_path, error):
    with pytest.raises(type(error)) as caught, files.disk_errors(tmp_path / "file"):
        raise error
    assert caught.value is error
