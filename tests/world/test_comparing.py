"""Runs of the same episodes side by side."""

import json

import numpy as np
import pytest
from run_folders import write_run

from swmjax.world.comparing import compare_runs
from swmjax.world.statistics import mcnemar, wilson_interval


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A base that solves 30 of 40, one that solves all but one, one that flips a single episode, one that fails."""
    folder = tmp_path_factory.mktemp("runs")
    base = np.arange(40) % 4 != 0
    nearly = base.copy()
    nearly[0] = True
    return [
        write_run(folder / "base", base),
        write_run(folder / "good", np.arange(40) != 1),
        write_run(folder / "nearly", nearly),
        write_run(folder / "broken", np.zeros(40, bool)),
    ]


def test_a_broken_run_differs_and_one_episode_does_not(runs):
    found = compare_runs(runs)
    assert found["measure"] == "success"
    first, good, nearly, broken = found["runs"]
    assert first["difference"] is None
    assert (first["mean"], tuple(first["interval"])) == (0.75, wilson_interval(30, 40))
    assert good["difference"]["difference"] == pytest.approx(9 / 40)
    assert (good["difference"]["only_this"], good["difference"]["only_first"]) == (10, 1)
    assert good["difference"]["p_value"] == mcnemar(10, 1)
    assert good["difference"]["p_adjusted"] == pytest.approx(2 * mcnemar(10, 1))
    assert good["difference"]["words"] == "better"
    assert broken["difference"]["words"] == "worse"
    assert nearly["difference"]["verdict"] == "undecided"
    assert "cannot be told apart; a difference of this size takes about" in nearly["difference"]["words"]
    assert nearly["difference"]["episodes_needed"] > 200
    assert first["budget"] == {
        "candidates": 30,
        "iterations": 3,
        "plans": 80,
        "model_steps": 80 * 30 * 3 * 5,
        "run_s": 4.0,
        "device": first["budget"]["device"],
    }
    assert found["notes"] == []


def test_only_episodes_of_both_count_and_equal_runs_are_no_proof(runs, tmp_path):
    later = write_run(tmp_path / "later", (np.arange(10, 50) % 4 != 0), seed=10)
    found = compare_runs([runs[0], later])
    difference = found["runs"][1]["difference"]
    assert (difference["episodes"], difference["difference"], difference["p_value"]) == (30, 0.0, 1.0)
    assert difference["words"] == "the same number of successes; that is no proof of equality"
    assert found["notes"] == [f"{later}: 20 episodes that only one of the two runs has are left out"]


def test_solved_problems_are_said_or_left_out(runs, tmp_path):
    outcomes = np.arange(40) % 4 != 0
    counted = write_run(tmp_path / "counted", outcomes, solved=range(1, 11))
    assert "10 of 40 problems are solved at the start and count" in compare_runs([counted, runs[1]])["notes"][0]
    left = write_run(tmp_path / "left", outcomes, solved=range(1, 11), skip_solved=True)
    found = compare_runs([left, runs[1]])
    assert found["runs"][0]["episodes"] == found["runs"][1]["difference"]["episodes"] == 30


def test_whole_episodes_are_compared_by_their_return(tmp_path):
    rng = np.random.default_rng(0)
    luck = rng.normal(0, 5, 30)
    episodic = {"protocol": {"name": "episodic"}}
    paths = [
        write_run(tmp_path / "a", np.zeros(30), returns=luck, **episodic),
        write_run(tmp_path / "b", np.zeros(30), returns=luck + 1 + rng.normal(0, 1, 30), **episodic),
        write_run(tmp_path / "c", np.zeros(30), returns=luck + rng.normal(0, 1, 30), **episodic),
    ]
    found = compare_runs(paths)
    assert found["measure"] == "return"
    _, better, same = (run["difference"] for run in found["runs"])
    # Pairing takes the luck out, which is five times the difference.
    assert better["words"] == "better"
    assert better["interval"][0] > 0.4
    assert same["verdict"] == "undecided"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"offset": 0.5}, "the start of the episode with seed 0 is \\[0.5, 0.5\\], in .*base it is \\[0, 0\\]"),
        ({"protocol": {"name": "episodic"}}, "its protocol is episodic, that of .*base is drawn"),
        ({"seed": 100}, "shares 0 episodes with .*base, a comparison needs at least 2"),
        ({"complete": False}, "the run has not ended; finish it with `swmjax eval --resume "),
    ],
)
def test_runs_of_other_episodes_are_refused(runs, tmp_path, settings, message):
    other = write_run(tmp_path / "other", np.zeros(40, bool), **settings)
    with pytest.raises(ValueError, match=message):
        compare_runs([runs[0], other])


def test_folders_that_are_no_runs_are_named(runs, tmp_path):
    with pytest.raises(ValueError, match="nowhere: there is no such run folder"):
        compare_runs([runs[0], tmp_path / "nowhere"])
    with pytest.raises(ValueError, match="needs at least 2 run folders, got 1"):
        compare_runs([runs[0]])
    damaged = write_run(tmp_path / "damaged", np.zeros(40, bool))
    (damaged / "results.json").write_text('{"complete": tru')
    with pytest.raises(ValueError, match="damaged.results.json: .*expected the JSON object"):
        compare_runs([runs[0], damaged])
    (damaged / "results.json").write_text("[]")
    with pytest.raises(ValueError, match="holds a list"):
        compare_runs([runs[0], damaged])
    (damaged / "episodes.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match="damaged.episodes.parquet: .*expected a Parquet file"):
        compare_runs([runs[0], damaged])


def test_the_command_says_it_in_words(runs, capsys):
    from typer.testing import CliRunner

    from swmjax.cli.app import app

    said = CliRunner().invoke(app, ["compare", *map(str, runs)])
    assert said.exit_code == 0
    assert "better" in said.output
    assert "30 x 3" in said.output
    found = json.loads(CliRunner().invoke(app, ["compare", "--json", *map(str, runs[:2])]).output)
    assert found["runs"][1]["difference"]["verdict"] == "better"
    refused = CliRunner().invoke(app, ["compare", str(runs[0]), "nowhere"])
    assert refused.exit_code == 2
    assert "error: nowhere: there is no such run folder" in refused.stderr
