"""Commands for datasets as users run them, and one line for every mistake."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from command_line import Command
from data_episodes import episode, listed, write
from typer.testing import CliRunner

from swmjax.cli.app import COMMANDS, app
from swmjax.data import EPISODE_DATA, load_dataset
from swmjax.data.formats import LanceWriter

pytest.importorskip("lance", reason="needs pylance: pip install 'swmjax[data]'")
pytest.importorskip("h5py", reason="needs h5py: pip install 'swmjax[formats]'")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An empty working directory, and an empty folder of datasets."""
    monkeypatch.setenv("STABLEWM_HOME", str(tmp_path / "home"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "home"


@pytest.fixture
def kept(home):
    """Datasets of two formats, and a model of an old release."""
    folder = home / "datasets"
    folder.mkdir(parents=True)
    write("lance", folder / "red.lance", [episode(4, 1) | {"variation.color": np.ones((4, 3))}, episode(6, 2)
          | {"variation.color": np.ones((6, 3))}])  # fmt: skip
    write("hdf5", folder / "blue.h5", [episode(5, 3)])
    (home / "old_object.ckpt").write_bytes(b"")
    return folder


def run(name, *arguments, **options):
    return Command(name).run(*arguments, **options)


def printed(name, *arguments):
    return json.loads(run(name, *arguments, "--json").stdout)


def test_datasets_are_listed(kept, home):
    found = printed("datasets")
    assert [(each["name"], each["format"]) for each in found] == [("blue", "hdf5"), ("red", "lance")]
    assert found[0]["size"] == (kept / "blue.h5").stat().st_size
    table = run("datasets").stdout
    assert "blue" in table
    assert "lance" in table
    shutil.rmtree(home)
    assert f"No datasets found in {home / 'datasets'}" in run("datasets").stdout
    assert printed("datasets") == []


def test_a_dataset_is_inspected(kept):
    facts = printed("inspect", "red")
    assert {name: facts[name] for name in ("format", "episodes", "steps", "lengths", "factors")} == {
        "format": "lance", "episodes": 2, "steps": 10, "lengths": [4, 6], "factors": ["color"]
    }  # fmt: skip
    assert {"name": "pixels", "kind": "image", "shape": [10, 24, 16, 3], "dtype": "uint8"} in facts["columns"]
    shown = run("inspect", "red").stdout
    for text in ("4 to 6", "(10, 24, 16, 3)", "Factors", "color"):
        assert text in shown


def test_a_sheet_and_a_page_are_written(kept, home):
    files = [Path(file) for file in printed("inspect", "red", "--preview", "--report")["written"]]
    assert files == [home / "previews" / "red.png", home / "previews" / "red.html"]
    assert iio.imread(files[0]).shape == (2 * 28 + 4, 8 * 20 + 4, 3)
    page = files[1].read_text()
    for text in ("<h1>red</h1>", "Action coverage", "Episode lengths", "data:image/jpeg;base64,", "grüner"):
        assert text in page
    assert run("inspect", "blue", "--report", "-o", "pages").stdout.endswith("written to pages/blue.html\n")


def test_names_in_files_do_not_become_html(kept, home):
    write("hdf5", kept / "odd.h5", [{"<script>x": np.arange(3.0), "t": ["<b>"] * 3, "action": np.full(3, np.nan)}])
    (file,) = printed("inspect", "odd", "--report")["written"]
    page = Path(file).read_text()
    assert "<script>" not in page
    assert "<b>" not in page
    assert "no finite action" in page


def test_episodes_are_previewed(kept, home):
    found = printed("preview", "red", "--num=1", "--seed=3", "--fps=5")
    assert found["episodes"] == printed("preview", "red", "-n", "1", "--seed=3")["episodes"]
    (file,) = found["files"]
    assert Path(file) == home / "previews" / "red" / f"ep{found['episodes'][0]}.mp4"
    assert iio.immeta(file, plugin="pyav")["fps"] == 15
    assert printed("preview", "red", "--episodes=1,0", "--output=films")["files"] == ["films/ep1.mp4", "films/ep0.mp4"]
    said = run("preview", "red", "--num=9", "-o", "all")
    assert "red.lance has 2 episodes, all of which are shown" in " ".join(said.stderr.split())
    write("hdf5", kept / "two.h5", [episode(3) | {"goal": episode(3)["pixels"]}])
    run("preview", "two", "--key=pixels,goal", "-o", "side")
    assert iio.improps("side/ep0.mp4", plugin="pyav").shape[2] > 2 * 16


def test_a_dataset_is_converted(kept):
    made = printed("convert", "red", "-f", "hdf5")
    assert made["path"] == str(kept / "red-hdf5.h5")
    assert (made["format"], made["episodes"], made["steps"]) == ("hdf5", 2, 10)
    assert run("convert", "blue", "./green", "-f", "lance").stdout.startswith(
        "green.lance: 1 episodes, 5 steps, checked"
    )
    assert load_dataset("green").lengths.tolist() == [5]
    run("convert", "red", "./green", "-f", "lance", "--overwrite")
    run("convert", "blue", "./green.lance", "-f", "lance", "--mode=append", code=2)  # blue has no factor
    run("convert", "green", "./green.lance", "-f", "lance", "--overwrite", code=2)  # a source itself
    assert load_dataset("green").lengths.tolist() == [4, 6]


def test_datasets_are_merged(kept):
    made = printed("merge", "blue", "blue", "-o", "twice")
    assert made["path"] == str(kept / "twice.h5")
    assert load_dataset("twice").lengths.tolist() == [5, 5]
    printed("merge", "blue", "twice", "--output=./all", "-f", "lance")
    assert load_dataset("all").lengths.tolist() == [5, 5, 5]


def test_versions_are_listed_and_restored(kept):
    write("lance", kept / "red.lance", [episode(2, 5) | {"variation.color": np.ones((2, 3))}], "append")
    for command in (["versions"], ["datasets", "versions"]):
        found = json.loads(run(*command, "red", "--json").stdout)
        assert [(each["version"], each["episodes"], each["steps"]) for each in found] == [(1, 2, 10), (2, 3, 12)]
    assert "restored" not in run("versions", "red").stdout
    assert run("datasets", "restore", "red", "1").stdout.endswith("red.lance is version 1 again\n")
    assert load_dataset("red").lengths.tolist() == [4, 6]
    printed("restore", "red", "2")
    assert load_dataset("red").lengths.tolist() == [4, 6, 2]


def test_what_goes_is_asked_for(kept, home):
    write("lance", kept / "side.lance", [episode(2) | {EPISODE_DATA: {"mass": 1.0}}])
    ask = lambda *arguments, answer: CliRunner().invoke(app, ["delete", *arguments], input=answer)  # noqa: E731
    assert ask("side", answer="n\n").exit_code == 1
    assert (kept / "side.lance").exists()
    done = ask("dataset", "side", "blue", answer="y\n")
    assert done.exit_code == 0
    assert sorted(path.name for path in kept.iterdir()) == ["red.lance"]
    assert printed("delete", "model", "old", "-y")["deleted"] == [str(home / "old_object.ckpt")]


def test_older_verbs(kept, home):
    assert printed("list", "dataset") == ["blue", "red"]
    assert printed("list", "model") == ["old"]
    assert "swm/PushT-v1" in printed("list", "world")
    assert "red" in run("list", "dataset").stdout
    (info,) = printed("show", "dataset", "red")
    assert info["num_episodes"] == 2
    assert info["variation"] == {"has_variation": True, "names": ["color"]}
    assert [each["name"] for each in printed("show", "dataset", "--all")] == ["blue", "red"]
    (info,) = printed("show", "world", "swm/TwoRoom-v1")
    assert info["action_space"]["shape"] == [2]
    assert "agent.color" in info["variation"]["names"]
    assert "num episodes" in run("show", "dataset", "blue").stdout
    shutil.rmtree(home)
    assert "No cached datasets" in run("list", "dataset").stdout


MISTAKES = [
    (["inspect", "read"], "read: is no dataset; there is no .*; did you mean red"),
    (["inspect", "red", "--format=parquet"], "format must be one of"),
    (["inspect", "red", "--format=hdf5"], "red.lance"),
    (["inspect", "cut.h5"], "cut.h5: cannot be read"),
    (["inspect", "notes"], "notes: is a dataset of none of the formats"),
    (["preview", "red", "--episodes=0,x"], "--episodes must be whole numbers between commas"),
    (["preview", "red", "--episodes=2"], "episode must be a whole number from 0 to 1, got 2"),
    (["preview", "red", "--key=pixel"], "unknown column of images .*'pixel'; did you mean 'pixels'"),
    (["preview", "red", "--num=0"], "num must be a whole number of at least 1"),
    (["preview", "red", "--fps=0"], "fps must be a number above 0"),
    (["preview", "numbers"], "numbers.h5: has no frames; its columns are action"),
    (["inspect", "numbers", "--preview"], "numbers.h5: has no frames"),
    (["convert", "red", "-f", "parquet"], "format must be one of"),
    (["convert", "red", "blue", "-f", "hdf5"], "blue.h5 exists; append to it or overwrite it"),
    (["convert", "red", "notes", "-f", "folder", "--overwrite"], "notes is no dataset; it is not touched"),
    (["convert", "red", "-f", "hdf5", "--mode=replace"], "mode must be one of error, append, overwrite"),
    (["merge", "red", "-o", "x"], "at least two datasets are merged, got 1"),
    (["merge", "red", "blue", "-o", "x"], "column mismatch"),
    (["versions", "blue"], "blue.h5: datasets in the format hdf5 keep no versions"),
    (["restore", "red", "9"], "red.lance: there is no version 9; there are 1"),
    (["delete", "-y", "read"], "unknown dataset 'read'; did you mean 'red'"),
    (["delete", "-y", "model", "odd"], "unknown model 'odd'; did you mean 'old'"),
    (["delete", "-y", "model"], "give the names of what goes"),
    (["list", "things"], "kind must be one of model, dataset, world"),
    (["show", "dataset"], "give the names of datasets, or --all"),
    (["show", "model", "old"], "kind must be one of dataset, world"),
    (["show", "world", "swm/PushT-v2"], "unknown world 'swm/PushT-v2'; did you mean 'swm/PushT-v1'"),
]


@pytest.mark.parametrize(("words", "message"), MISTAKES, ids=[" ".join(words) for words, _ in MISTAKES])
def test_a_mistake_is_one_line_and_touches_nothing(kept, words, message):
    (kept / "notes").mkdir()
    (kept / "notes" / "page").write_text("precious")
    (kept / "cut.h5").write_bytes((kept / "blue.h5").read_bytes()[:700])
    write("hdf5", kept / "numbers.h5", [{"action": np.zeros((3, 2))}])
    before = listed(kept)
    line = Command(words[0]).refused(*words[1:])
    import re

    assert re.search(message, line), line
    assert listed(kept) == before


def test_a_dataset_that_is_being_written_is_let_alone(kept):
    with LanceWriter(kept / "red.lance", "append"):
        for words in (["delete", "-y", "red"], ["restore", "red", "1"]):
            assert "red.lance: another process is writing to it" in Command(words[0]).refused(*words[1:])
    assert load_dataset("red").lengths.tolist() == [4, 6]


def test_a_conversion_that_was_interrupted_goes_on(kept, monkeypatch):
    real, done = LanceWriter.write_episode, []

    def stop(self, one):
        real(self, one)
        done.append(one)
        if len(done) == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(LanceWriter, "write_episode", stop)
        said = run("convert", "red", "again", "-f", "lance", code=130).stderr
    assert said.strip() == "error: interrupted: 1 of 2 episodes are written; the same command goes on"
    assert not (kept / "again.lance").exists()
    run("convert", "red", "again", "-f", "lance")
    assert len(done) == 1
    assert load_dataset("again").lengths.tolist() == [4, 6]


@pytest.mark.slow
def test_help_imports_no_jax():
    for name in COMMANDS:
        code = (
            "import sys\nsys.argv = ['swmjax', sys.argv[1], '--help']\nfrom swmjax.cli.app import main\n"
            "try:\n    main()\nexcept SystemExit:\n    pass\n"
            "assert not {'jax', 'numpy'} & set(sys.modules)"
        )
        subprocess.run([sys.executable, "-c", code, name], check=True, capture_output=True)
