"""Write the small torch files of `torch_archives/`, with the values that a reader must find in them.

Run with a Python that has torch and numpy: `python tests/golden/make_torch_archives.py`.
Files that end in `.bad.pt` must be refused; every other one has an `.npz` of its values (bfloat16 as float32).
"""

from __future__ import annotations

import os
import warnings
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch

FOLDER = Path(__file__).parent / "torch_archives"


class RunsACommand:
    """Unpickling this would run a shell command."""

    def __reduce__(self):
        return os.system, ("touch /tmp/swmjax_must_not_exist",)


def dtypes() -> dict[str, torch.Tensor]:
    names = ["float64", "float16", "int64", "int32", "int16", "int8", "uint8", "uint16", "uint32", "uint64"]
    tensors = {name: torch.arange(6).reshape(2, 3).to(getattr(torch, name)) for name in names}
    tensors["float32"] = torch.tensor([0.1, -1.5, float("inf"), float("nan")])
    tensors["bfloat16"] = torch.tensor([0.1, -1.5, 3e38, float("nan")]).bfloat16()
    tensors["bool"] = torch.tensor([True, False, True])
    return tensors


def views() -> dict[str, torch.Tensor]:
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    return {
        "base": base,
        "same_storage": base,
        "offset": base[2],
        "transposed": base.t(),
        "every_other": base[::2, 1::3],
        "overlapping": base.flatten().as_strided((5, 4), (2, 1), 3),
        "expanded": torch.tensor([1.5, -2.0])[:, None].expand(2, 3),
        "channels_last": torch.arange(48.0).reshape(1, 3, 4, 4).to(memory_format=torch.channels_last),
        "scalar": torch.tensor(2.5),
        "scalar_of_base": base[1, 2],
        "empty": torch.zeros(0, dtype=torch.int32),
        "empty_matrix": torch.zeros(3, 0, 2),
        "empty_view": base[:, 3:3],
    }


def module_state() -> OrderedDict[str, torch.Tensor]:
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    with torch.no_grad():
        for i, value in enumerate(module.state_dict().values()):
            value.fill_(i + 1)
    return module.state_dict()


def parameters() -> dict[str, torch.Tensor]:
    weight = torch.nn.Parameter(torch.arange(6.0).reshape(3, 2))
    return {"weight": weight, "frozen": torch.nn.Parameter(torch.ones(2), requires_grad=False)}


def save(name: str, tensors: dict[str, torch.Tensor], **options: object) -> None:
    torch.save(tensors, FOLDER / f"{name}.pt", **options)
    arrays = {k: (v.float() if v.dtype == torch.bfloat16 else v).detach().numpy() for k, v in tensors.items()}
    np.savez(FOLDER / f"{name}.npz", **arrays)


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    save("dtypes", dtypes())
    save("views", views())
    save("module", module_state())
    save("parameters", parameters())
    nested = {"state_dict": module_state(), "epoch": 3, "lr": 1e-3, "name": "run", "hyper": {"sizes": [1, (2, None)]}}
    torch.save(nested, FOLDER / "lightning.bad.pt")
    torch.save(views(), FOLDER / "legacy.bad.pt", _use_new_zipfile_serialization=False)
    torch.save({"weight": torch.ones(2), "x": RunsACommand()}, FOLDER / "command.bad.pt")
    torch.save(torch.nn.Linear(2, 2), FOLDER / "module_object.bad.pt")
    torch.save({"weight": torch.ones(2, dtype=torch.complex64)}, FOLDER / "complex.bad.pt")
    torch.save([torch.ones(2)], FOLDER / "list.bad.pt")
    torch.save({"weight": torch.ones(2)}, FOLDER / "protocol4.bad.pt", pickle_protocol=4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), FOLDER / "torchscript.bad.pt")


if __name__ == "__main__":
    main()
