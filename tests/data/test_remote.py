"""Datasets at addresses: what reaches them, and that they read as they do here."""

import numpy as np
import pytest
from data.s3 import s3_server

from envs_mjx.checks import MissingExtraError, UserError
from swmjax.data import LanceWriter, Loader, load_dataset
from swmjax.data.remote import lance_options, open_file


@pytest.mark.parametrize(
    ("environment", "address", "expected"),
    [
        ({}, "s3://b/x.lance", {"region": "us-east-1", "virtual_hosted_style_request": "true"}),
        ({"AWS_DEFAULT_REGION": "eu-north-1"}, "s3://b/x.lance", {"region": "eu-north-1"}),
        (
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:9000"},
            "s3://b/x.lance",
            {"aws_endpoint": "http://127.0.0.1:9000", "allow_http": "true", "virtual_hosted_style_request": "false"},
        ),
        (
            {"AWS_ENDPOINT_URL_S3": "https://minio"},
            "s3://b/x.lance",
            {"aws_endpoint": "https://minio", "allow_http": "false"},
        ),
        ({"HF_TOKEN": "secret"}, "hf://datasets/a/b.lance", {"token": "secret"}),
    ],
)
def test_the_environment_says_how_lance_reaches_an_address(monkeypatch, environment, address, expected):
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert lance_options(address).items() >= expected.items()
    assert lance_options(address, {"region": "own"})["region"] == "own"


def test_secrets_go_to_their_own_host_only(monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "secret")
    assert "secret" not in lance_options("s3://b/x.lance").values()
    assert lance_options("gs://b/x.lance") == {}


def test_a_missing_package_is_named(monkeypatch):
    fsspec = pytest.importorskip("fsspec")

    def missing(*_, **__):
        raise ImportError("Please install gcsfs")

    monkeypatch.setattr(fsspec.core, "url_to_fs", missing)
    with pytest.raises(MissingExtraError, match="gs://b/x.h5: addresses of gs need gcsfs: pip install gcsfs"):
        open_file("gs://b/x.h5")


def episodes():
    rng = np.random.default_rng(0)
    for length in (30, 25, 40):
        yield {
            "pixels": rng.integers(0, 255, (length, 16, 12, 3), np.uint8),
            "action": rng.normal(size=(length, 2)).astype(np.float32),
        }


def write_hdf5(path):
    h5py = pytest.importorskip("h5py")
    given = list(episodes())
    with h5py.File(path, "w") as file:
        for name in given[0]:
            column = np.concatenate([one[name] for one in given])
            file.create_dataset(name, data=column, chunks=(1, *column.shape[1:]))
        lengths = np.array([len(one["action"]) for one in given], np.int32)
        file["ep_len"], file["ep_offset"] = lengths, np.cumsum(lengths, dtype=np.int64) - lengths


def test_datasets_are_read_from_s3_as_they_are_here(tmp_path, monkeypatch):
    """Lance and HDF5, singly, in batches and through the loader; and what is not there is said."""
    pytest.importorskip("lance", reason="needs pylance: pip install 'swmjax[data]'")
    with LanceWriter(tmp_path / "set.lance") as writer:
        writer.write_episodes(episodes())
    write_hdf5(tmp_path / "set.h5")
    for name, value in {
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    with s3_server() as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        import s3fs

        bucket = s3fs.S3FileSystem(skip_instance_cache=True)
        bucket.mkdir("bucket")
        bucket.put(str(tmp_path / "set.lance"), "bucket/set.lance", recursive=True)
        bucket.put(str(tmp_path / "set.h5"), "bucket/set.h5")
        for name in ("set.lance", "set.h5"):
            here, there = (load_dataset(f"{at}/{name}", num_steps=2, frameskip=3) for at in (tmp_path, "s3://bucket"))
            assert len(there) == len(here) > 50
            numbers = [0, 60, 3, 60, 41]
            expected = here.batch(numbers)
            for _ in range(2):
                found = there.batch(numbers)
                assert list(found) == list(expected)
                for column, array in expected.items():
                    np.testing.assert_array_equal(found[column], array)
            np.testing.assert_array_equal(there[7]["action"], here[7]["action"])
            for batch, one in zip(Loader(there, 16, epochs=1), Loader(here, 16, epochs=1), strict=True):
                np.testing.assert_array_equal(batch["pixels"], one["pixels"])
        for name in ("none.lance", "none.h5"):
            with pytest.raises(UserError, match=f"s3://bucket/{name}: cannot be read") as caught:
                load_dataset(f"s3://bucket/{name}")
            assert "\n" not in str(caught.value)
