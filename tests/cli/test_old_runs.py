"""What users of release 0.1.0 have on their disks, made by its code: it resumes, loads, evaluates and grows."""

import csv
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pyarrow.parquet as pq
import pytest
from command_line import Command
from goal_env import unchecked_types

from swmjax.checkpoints import load_pretrained, read_state_dict
from swmjax.data import decode_jpeg

GOLDEN = Path(__file__).parents[1] / "golden"
evaluate, train, collect, export = (Command(name).run for name in ("eval", "train-expert", "collect", "export"))


@pytest.fixture(autouse=True, scope="module")
def quick_compiling():
    """What counts here is that old files are understood: without optimising, programs compile in half the time."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
    jax.clear_caches()


@pytest.fixture(autouse=True)
def as_users(tmp_path, monkeypatch):
    """A copy of the old files, as current folder and as home of the checkpoints; Brax relies on rank promotion."""
    home = shutil.copytree(GOLDEN / "old_runs", tmp_path / "home")
    monkeypatch.chdir(home)
    monkeypatch.setenv("STABLEWM_HOME", str(home))
    with unchecked_types(), jax.numpy_rank_promotion("allow"):
        yield


def episodes(folder):
    return pq.read_table(Path(folder) / "episodes.parquet").to_pylist()


def evaluations(folder):
    """Rows of a training's table, but for the time that they took."""
    with (Path(folder) / "progress.csv").open() as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def results(folder):
    return json.loads((Path(folder) / "results.json").read_text())


def assert_same(found, expected):
    """Rows have the same values but for the last digits of floats, which are the machine's."""
    for row, old in zip(found, expected, strict=True):
        for name, value in old.items():
            np.testing.assert_allclose(
                np.asarray(row[name], float), np.asarray(value, float), rtol=1e-4, atol=1e-6, err_msg=name
            )


@pytest.mark.parametrize(("model", "settings"), [("physics", "physics_finished/config.yaml"), ("model", "model.yaml")])
def test_evaluations_resume_and_run_again(model, settings):
    finished, kept = episodes(f"{model}_finished"), episodes(f"{model}_interrupted")
    evaluate(f"--resume={model}_interrupted")
    resumed = episodes(f"{model}_interrupted")
    younger = dict.fromkeys(resumed[0].keys() - kept[0].keys())
    assert resumed[:2] == [row | younger for row in kept]
    assert_same(resumed, finished)
    for name in ("complete", "episodes", "successes"):
        assert results(f"{model}_interrupted")[name] == results(f"{model}_finished")[name]

    evaluate(f"--config={settings}", "--output=again")
    assert_same(episodes("again")[:2], kept)
    assert episodes("again")[2:] == resumed[2:]


@pytest.mark.parametrize("algorithm", ["sac", "ppo"])
def test_trainings_resume(algorithm):
    finished, interrupted = f"{algorithm}_finished", f"{algorithm}_interrupted"
    kept = evaluations(interrupted)
    assert len(kept) == 2
    train(f"--resume={interrupted}")
    assert_same(evaluations(interrupted)[:2], kept)
    assert_same(evaluations(interrupted), evaluations(finished))
    assert results(interrupted)["complete"]
    assert results(interrupted)["best_steps"] == results(finished)["best_steps"] == 64


def test_an_expert_adds_to_its_dataset():
    lance = pytest.importorskip("lance", reason="needs pylance: pip install 'swmjax[data]'")
    rows = lance.dataset("expert.lance").count_rows()
    collect(
        "PendulumControl-v1", "--policy=sac_finished", "--output=expert.lance", "--append", "--episodes=3",
        "--max-steps=4", "--seed=11", "--image-size=16", "--variation=physics.m", "--variation=visuals.rod",
    )  # fmt: skip
    table = lance.dataset("expert.lance").to_table()
    assert table.column("episode_idx").to_pylist() == np.repeat(range(6), rows // 3).tolist()
    frames = np.array([decode_jpeg(data) for data in table.column("pixels").to_pylist()]).astype(int)
    assert frames[:rows].std() > 10
    np.testing.assert_allclose(frames[rows:], frames[:rows], atol=3)
    same = table.drop_columns(["episode_idx", "render_time", "pixels"])
    assert_same(same.slice(rows).to_pylist(), same.slice(0, rows).to_pylist())


def test_a_native_checkpoint_loads_and_goes_back():
    with np.load(GOLDEN / "lewm_mini_hf4_io.npz") as recorded:
        latents = jax.jit(load_pretrained("lewm-mini").encode)(recorded["pixels"])
        np.testing.assert_allclose(latents, recorded["emb"], rtol=1e-4, atol=1e-4)
    export("lewm-mini", "back")
    found, wanted = Path("checkpoints/back"), GOLDEN / "lewm_mini_hf4"
    assert json.loads((found / "config.json").read_text()) == json.loads((wanted / "config.json").read_text())
    tensors, originals = (read_state_dict(folder / "weights.pt") for folder in (found, wanted))
    assert tensors.keys() == originals.keys()
    for name, array in originals.items():
        np.testing.assert_array_equal(tensors[name], array)
