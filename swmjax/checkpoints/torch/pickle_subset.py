"""An interpreter for the few pickle opcodes that a torch state dict is written with.

It imports nothing and calls nothing but the builders it is given, so a hostile file can at worst be refused.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from swmjax.checkpoints.errors import CheckpointError, shown

MAX_STACK = 100_000
"""Entries on the stack; the pickler flushes containers every 1000 items, so real files stay far below."""

MAX_OPERATIONS = 400_000
"""Opcodes carried out; a tensor takes about 30, and half a million take about a second."""


@dataclass(frozen=True)
class Global:
    """A name that a pickle may mention, and what it stands for here.

    Args:
        name: "module attribute", as the opcode spells it.
        value: what code that receives this object as an argument should read (a dtype, for example).
        build: what a call of the name makes; None where the name may be mentioned but not called.
    """

    name: str
    value: Any = None
    build: Callable[[tuple[Any, ...]], Any] | None = None


@dataclass(frozen=True)
class Foreign:
    """Stands for an object of a training framework, which is never made; a state dict has none.

    Args:
        name: "module attribute" of its class.
    """

    name: str


_FOREIGN_MODULES = (
    "argparse collections functools hydra lightning lightning_fabric numpy omegaconf pathlib pytorch_lightning "
    "stable_pretraining stable_worldmodel torch torchmetrics typing"
).split()
_FOREIGN_NAMES = [
    "_codecs encode",
    *(f"{module} _reconstructor" for module in ("copy_reg", "copyreg")),
    *(f"{module} {name}" for module in ("__builtin__", "builtins") for name in ("dict", "frozenset", "object", "set")),
]
"""What whole training checkpoints have beside the state dict: settings, callbacks, states of optimisers."""


def not_allowed(foreign: Foreign) -> CheckpointError:
    """The error for an object where tensors are wanted."""
    return CheckpointError(
        f"global {shown(foreign.name)} is not allowed; allowed are torch tensors, storages and dicts"
    )


def load(data: bytes, allowed: Mapping[str, Global], persistent: Callable[[tuple[Any, ...]], Any]) -> Any:
    """Rebuild the object that a protocol-2 pickle describes, out of plain data and allowed names only.

    Args:
        data: the whole pickle.
        allowed: the names that may occur, keyed by "module attribute".
        persistent: makes the object behind a persistent id (a tuple).

    Returns:
        The object at the top of the pickle; `Foreign` where it has objects of training frameworks.

    Raises:
        CheckpointError: the first opcode, name, id or value that is not allowed, with its byte offset.
    """
    machine = _Machine(data, allowed, persistent)
    try:
        return machine.run()
    except CheckpointError as error:
        raise CheckpointError(f"byte {machine.start}: {error}") from None


class _Machine:
    def __init__(
        self, data: bytes, allowed: Mapping[str, Global], persistent: Callable[[tuple[Any, ...]], Any]
    ) -> None:
        self.data = data
        self.allowed = allowed
        self.persistent = persistent
        self.position = 0
        self.start = 0
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        for _ in range(MAX_OPERATIONS):
            self.start = self.position
            code = self.take(1)[0]
            if code == _STOP:
                break
            operation = _OPERATIONS.get(code)
            if operation is None:
                raise CheckpointError(f"opcode 0x{code:02x} is not allowed; allowed are the opcodes of a state dict")
            operation(self)
            if len(self.stack) + len(self.marks) > MAX_STACK:
                raise CheckpointError(f"more than {MAX_STACK} values on the stack")
        else:
            raise CheckpointError(f"more than {MAX_OPERATIONS} opcodes; allowed is the pickle of a state dict")
        if self.marks or len(self.stack) != 1:
            raise CheckpointError(f"the pickle ends with {len(self.stack)} values on the stack; allowed is exactly 1")
        return self.stack[0]

    def take(self, count: int) -> bytes:
        end = self.position + count
        if end > len(self.data):
            raise CheckpointError(f"the pickle ends early ({len(self.data)} bytes, {end} needed)")
        piece = self.data[self.position : end]
        self.position = end
        return piece

    def line(self) -> str:
        end = self.data.find(b"\n", self.position, self.position + 256)
        if end < 0:
            raise CheckpointError("a name without an end; allowed are names of up to 255 characters")
        return self.take(end + 1 - self.position)[:-1].decode("latin-1")

    def pop(self) -> Any:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise CheckpointError("the stack is empty")
        return self.stack.pop()

    def pop_many(self, count: int) -> tuple[Any, ...]:
        return tuple(reversed([self.pop() for _ in range(count)]))

    def pop_to_mark(self) -> list[Any]:
        if not self.marks:
            raise CheckpointError("no mark on the stack")
        mark = self.marks.pop()
        items = self.stack[mark:]
        del self.stack[mark:]
        return items

    def recall(self, index: int) -> None:
        if index not in self.memo:
            raise CheckpointError(f"memo entry {index} was never stored")
        self.stack.append(self.memo[index])

    def remember(self, index: int) -> None:
        value = self.pop()
        self.stack.append(value)
        self.memo[index] = value

    def extend_dict(self, items: list[Any]) -> None:
        target = self.pop()
        if type(target) not in (dict, Foreign):
            raise CheckpointError(f"items set on a {shown(target)}; allowed is a dict")
        if len(items) % 2:
            raise CheckpointError("a key without a value")
        if isinstance(target, Foreign):
            items = []
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str | int):
                raise CheckpointError(f"a dict key of type {type(key).__name__}; allowed are str and int")
            target[key] = value
        self.stack.append(target)

    def extend_list(self, items: list[Any]) -> None:
        target = self.pop()
        if type(target) not in (list, Foreign):
            raise CheckpointError(f"items appended to a {shown(target)}; allowed is a list")
        if not isinstance(target, Foreign):
            target.extend(items)
        self.stack.append(target)

    def protocol(self) -> None:
        version = self.take(1)[0]
        if version != 2:
            raise CheckpointError(f"pickle protocol {version}; allowed is 2, which torch.save writes by default")

    def text(self) -> None:
        (length,) = struct.unpack("<I", self.take(4))
        try:
            self.stack.append(self.take(length).decode("utf-8"))
        except UnicodeDecodeError:
            raise CheckpointError("a string that is not UTF-8") from None

    def name(self) -> None:
        name = f"{self.line()} {self.line()}"
        foreign = Foreign(name)
        if name in self.allowed:
            self.stack.append(self.allowed[name])
        elif name in _FOREIGN_NAMES or name.split(" ")[0].split(".")[0] in _FOREIGN_MODULES:
            self.stack.append(foreign)
        else:
            raise not_allowed(foreign)

    def call(self) -> None:
        function, arguments = self.pop_many(2)
        if isinstance(function, Foreign):
            self.stack.append(function)
            return
        if not isinstance(function, Global) or function.build is None:
            named = function.name if isinstance(function, Global) else type(function).__name__
            raise CheckpointError(f"a call of {shown(named)}; allowed are calls of tensor and dict builders")
        if not isinstance(arguments, tuple):
            raise CheckpointError(f"a call with arguments of type {type(arguments).__name__}; allowed is a tuple")
        _refuse_foreign(arguments)
        self.stack.append(function.build(arguments))

    def new_object(self) -> None:
        kind, _ = self.pop_many(2)
        if not isinstance(kind, Foreign):
            raise CheckpointError(f"an object of a {shown(kind)}; allowed are tensors, storages and dicts")
        self.stack.append(kind)

    def external(self) -> None:
        identifier = self.pop()
        if not isinstance(identifier, tuple):
            raise CheckpointError(f"a persistent id of type {type(identifier).__name__}; allowed is a tuple")
        _refuse_foreign(identifier)
        self.stack.append(self.persistent(identifier))

    def state(self) -> None:
        # torch hangs `_metadata` (module versions) on the OrderedDict; nothing here needs it.
        target, state = self.pop_many(2)
        if isinstance(target, Foreign):
            self.stack.append(target)
            return
        if type(target) is not dict or type(state) is not dict or set(state) - {"_metadata"}:
            raise CheckpointError("attributes set on an object; allowed is `_metadata` of a state dict")
        self.stack.append(target)


def _refuse_foreign(arguments: tuple[Any, ...]) -> None:
    for value in arguments:
        if isinstance(value, Foreign):
            raise not_allowed(value)


def _number(layout: str) -> Callable[[_Machine], Any]:
    size = struct.calcsize(layout)
    return lambda machine: struct.unpack(layout, machine.take(size))[0]


_byte, _short, _integer, _index, _double = (_number(layout) for layout in ("<B", "<H", "<i", "<I", ">d"))


def _push(read: Callable[[_Machine], Any]) -> Callable[[_Machine], None]:
    return lambda machine: machine.stack.append(read(machine))


_STOP = ord(".")
_OPERATIONS: dict[int, Callable[[_Machine], None]] = {
    0x80: _Machine.protocol,
    ord("("): lambda machine: machine.marks.append(len(machine.stack)),
    ord("N"): _push(lambda machine: None),
    0x88: _push(lambda machine: True),
    0x89: _push(lambda machine: False),
    ord("K"): _push(_byte),
    ord("M"): _push(_short),
    ord("J"): _push(_integer),
    0x8A: _push(lambda machine: int.from_bytes(machine.take(_byte(machine)), "little", signed=True)),
    ord("G"): _push(_double),
    ord("X"): _Machine.text,
    ord(")"): _push(lambda machine: ()),
    0x85: _push(lambda machine: machine.pop_many(1)),
    0x86: _push(lambda machine: machine.pop_many(2)),
    0x87: _push(lambda machine: machine.pop_many(3)),
    ord("t"): _push(lambda machine: tuple(machine.pop_to_mark())),
    ord("]"): _push(lambda machine: []),
    ord("a"): lambda machine: machine.extend_list([machine.pop()]),
    ord("e"): lambda machine: machine.extend_list(machine.pop_to_mark()),
    ord("}"): _push(lambda machine: {}),
    ord("s"): lambda machine: machine.extend_dict(list(machine.pop_many(2))),
    ord("u"): lambda machine: machine.extend_dict(machine.pop_to_mark()),
    ord("c"): _Machine.name,
    ord("Q"): _Machine.external,
    ord("R"): _Machine.call,
    0x81: _Machine.new_object,
    ord("b"): _Machine.state,
    ord("q"): lambda machine: machine.remember(_byte(machine)),
    ord("r"): lambda machine: machine.remember(_index(machine)),
    ord("h"): lambda machine: machine.recall(_byte(machine)),
    ord("j"): lambda machine: machine.recall(_index(machine)),
}
