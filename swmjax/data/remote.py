"""Datasets at addresses, such as `s3://bucket/set.lance`: how they are reached."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from envs_mjx.checks import MissingExtraError, UserError, needs_extra

_BLOCK, _BLOCKS = 2**20, 256
"""Bytes of a part of a remote file that are fetched at once, and such parts that are kept."""
_PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "hf": "huggingface_hub", "abfs": "adlfs", "azure": "adlfs"}
"""What fsspec needs for a scheme."""


def is_address(path: str | Path) -> bool:
    """Whether a path is an address, such as `s3://bucket/set.lance`."""
    return "://" in str(path)


def lance_options(address: str, given: Mapping[str, str] | None = None) -> dict[str, str]:
    """How Lance reaches an address, from the environment where nothing is given.

    What `AWS_ENDPOINT_URL` names, such as a MinIO server, is reached in plain text if it says so, with the bucket in
    the path; Amazon with the bucket in the name of the host. `HF_TOKEN` is sent to the Hugging Face hub and nowhere
    else.

    Args:
        address: Of the dataset.
        given: Options of Lance's that win over all others.

    Source: reference, `data/formats/lance.py`.
    """
    found: dict[str, str] = {}
    if address.startswith("s3://"):
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
        found |= {"region": region, "virtual_hosted_style_request": str(endpoint is None).lower()}
        if endpoint is not None:
            found |= {"aws_endpoint": endpoint, "allow_http": str(endpoint.startswith("http://")).lower()}
    if address.startswith("hf://") and os.environ.get("HF_TOKEN"):
        found["token"] = os.environ["HF_TOKEN"]
    return {**found, **(given or {})}


def open_file(address: str, options: Mapping[str, Any] | None = None) -> Any:
    """A remote file, to be read at any place; parts of it that were read are kept, up to 256 MiB.

    Args:
        address: Of the file.
        options: How it is reached, as fsspec takes it.

    Raises:
        UserError: It cannot be read; the message says why.
        MissingExtraError: A package is not installed; the message says how to install it.
    """
    with needs_extra("addresses need", "remote"):
        import fsspec
    try:
        file, path = fsspec.core.url_to_fs(address, **(options or {}))
        return file.open(path, "rb", block_size=_BLOCK, cache_type="blockcache", cache_options={"maxblocks": _BLOCKS})
    except ImportError as error:
        scheme = address.partition("://")[0]
        package = _PACKAGES.get(scheme, "what fsspec names")
        raise MissingExtraError(f"{address}: addresses of {scheme} need {package}: pip install {package}") from error
    except Exception as error:  # every library behind fsspec has errors of its own
        said = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{address}: cannot be read, {said}") from error
