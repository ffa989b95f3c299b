"""Where a collection begins: anew, after the episodes that are there, or where an earlier run of it was stopped."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from envs_mjx import Env
from envs_mjx.checks import UserError
from swmjax.data import Format, Mode, Writer
from swmjax.data.formats.base import SEED
from swmjax.policies.base import Policy
from swmjax.runs.described import facts
from swmjax.runs.telling import Note

LAST_SEED = 2**31 - 1


@dataclass(frozen=True)
class Begun:
    """A collection that is to be made or finished.

    Attributes:
        writer: Of its dataset, not yet entered.
        seed: Of its first episode; episode i has seed + i.
        done: Episodes of it that are there.
    """

    writer: Writer
    seed: int
    done: int


def begin(
    form: type[Format],
    path: Path,
    mode: Mode,
    settings: Mapping[str, Any],
    seed: int | None,
    episodes: int,
    note: Note,
) -> Begun:
    """Find out where a collection begins.

    The dataset remembers its last collection; one that is asked for again before it is complete goes on.

    Args:
        form: Format of the dataset.
        path: The dataset.
        mode: What to do where there is one.
        settings: What decides the episodes besides their seeds, as `collection_settings` gives it.
        seed: Of the first episode; 0, or the one after those of the dataset, if None.
        episodes: How many.
        note: Told whether it goes on, and what cannot be known.

    Raises:
        UserError: Seeds would come twice, or there is no telling which come next.
        FileExistsError: There is a dataset, and the mode is `error`.
    """
    left = form.record(path)
    if left is not None and _is_same(left, mode, settings, seed, episodes):
        writer = form.writer(path, "append")
        done = writer.episodes - left["first_episode"]
        if 0 <= done < episodes:
            note(
                f"{path} holds {done} of these {episodes} episodes, from a run that was stopped; collecting the others"
            )
            return Begun(writer, left["seed"], done)
    writer = form.writer(path, mode)
    if mode == "append" and left is not None:
        there, given = (_class_of(record.get("env")) for record in (left, settings))
        if there != given:
            raise UserError(f"{path}: holds episodes of {there}, to which none of {given} are appended")
    first = _first_seed(writer, seed, episodes, note)
    writer.remember(dict(settings) | {"seed": first, "episodes": episodes, "first_episode": writer.episodes})
    return Begun(writer, first, 0)


def _class_of(facts: Any) -> Any:
    """The class of an environment that a record tells of."""
    return facts.get("class") if isinstance(facts, Mapping) else facts


def _is_same(left: Mapping[str, Any], mode: Mode, settings: Mapping[str, Any], seed: int | None, episodes: int) -> bool:
    """Whether a dataset's last collection is the one that is asked for."""
    rest = {name: value for name, value in left.items() if name not in ("seed", "episodes", "first_episode")}
    first, begun, count = (left.get(name) for name in ("first_episode", "seed", "episodes"))
    if rest != settings or count != episodes or type(first) is not int or type(begun) is not int:
        return False
    if mode == "append":
        return seed is None or seed == begun
    return first == 0 and begun == (seed or 0)


def _first_seed(writer: Writer, seed: int | None, episodes: int, note: Note) -> int:
    if writer.episodes == 0:
        return seed or 0
    present = writer.seeds
    if present is None:
        if seed is None:
            raise UserError(
                f"{writer.path}: has no column {SEED}, so there is no telling which seeds its {writer.episodes} "
                f"episodes began from; say with `seed` from which the new ones do"
            )
        note(f"{writer.path} has no column {SEED}, so whether it holds these episodes already cannot be checked")
        return seed
    after = int(present.max()) + 1
    if seed is None:
        if after + episodes - 1 > LAST_SEED:
            raise UserError(
                f"{writer.path}: holds episodes with seeds up to {after - 1}, after which {episodes} more do not "
                f"fit; say with `seed` from which the new ones begin, at most {LAST_SEED - episodes + 1}"
            )
        return after
    if ((present >= seed) & (present < seed + episodes)).any():
        asked = _ranges(seed + np.arange(episodes))
        raise UserError(
            f"{writer.path}: {episodes} episodes from seed {seed} on have the seeds {asked}, but the dataset holds "
            f"those of {_ranges(present)} already; allowed is a seed from {after} on, or none to go on there"
        )
    return seed


def _ranges(numbers: np.ndarray) -> str:
    """Whole numbers as "0 to 4, 7"."""
    numbers = np.unique(numbers)
    parts = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1)
    named = [f"{part[0]}" if len(part) == 1 else f"{part[0]} to {part[-1]}" for part in parts]
    return ", ".join(named if len(named) <= 5 else [*named[:4], "...", named[-1]])


def collection_settings(env: Env, policy: Policy, **settings: Any) -> dict[str, Any]:
    """What decides the episodes of a collection besides their seeds, as JSON has it.

    Args:
        env: The environment.
        policy: The policy.
        **settings: Numbers, text and sequences of them.
    """
    # Another implementation of the physics makes other episodes.
    remarks = {"remarks": list(env.remarks)} if env.remarks else {}
    known = {"env": facts(env), "policy": facts(policy)} | remarks
    return known | {name: facts(value) for name, value in settings.items()}
