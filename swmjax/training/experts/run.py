"""Train an expert: SAC or PPO in the loop, judged by the returns of fresh episodes."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from envs_mjx.checks import UserError
from swmjax.checkpoints.actors import ACTOR_FILE, write_actor
from swmjax.models.actor import Actor
from swmjax.runs.telling import Note, Progress, silent
from swmjax.runs.watched import Watched
from swmjax.training.experts.config import ExpertConfig
from swmjax.training.experts.curve import draw_curve
from swmjax.training.experts.env import TrainingEnv
from swmjax.training.experts.ppo import PPO
from swmjax.training.experts.probe import check_reward
from swmjax.training.experts.sac import SAC
from swmjax.training.learner import Learner
from swmjax.training.loop import Evaluation, train
from swmjax.training.progress import Row
from swmjax.training.states import saved_epochs


@dataclass(frozen=True)
class ExpertLearner(Learner):
    """An algorithm in an environment.

    Args:
        algorithm: Its hyperparameters.
        env: The environment.
        iterations: Iterations of the algorithm in one epoch.
    """

    algorithm: SAC | PPO
    env: TrainingEnv
    iterations: int

    @property
    def steps_per_epoch(self) -> int:
        """Environment steps of an epoch."""
        return self.iterations * self.algorithm.steps_per_iteration

    def init(self, key: Key[Array, ""]) -> Any:
        """That of the algorithm."""
        return self.algorithm.init(self.env, key)

    def epoch(self, state: Any, batches: None = None) -> tuple[Any, dict[str, Array]]:
        """Some iterations of the algorithm, which gathers its own experience."""
        return self.algorithm.epoch(self.env, state, self.iterations)

    def export(self, state: Any) -> Actor:
        """The actor."""
        return self.algorithm.actor(self.env, state)


class Returns(Evaluation):
    """Judges an actor by the returns of fresh episodes, beside those of random actions."""

    score: ClassVar[str] = "return_mean"

    def __init__(self, config: ExpertConfig, env: TrainingEnv, folder: Path, key: Key[Array, ""]):
        self._config, self._env, self._folder, self._key = config, env, folder, key
        self._program: Any = None
        self.random_return = np.nan

    def begin(self, run: Watched, model: Actor) -> None:
        """Compile, and play with random actions."""
        random = jnp.asarray(True)
        episodes = self._config.eval_episodes
        self._program, _ = run.compile("compiling", _play, self._env, episodes, model, self._key, random)
        returns, _ = run.finish(self._program, model, jax.random.fold_in(self._key, 0), random)
        self.random_return = float(np.mean(returns))

    def __call__(self, run: Watched, model: Actor, epoch: int) -> dict[str, float]:
        """Figures of the returns and the mean length of the episodes."""
        key = jax.random.fold_in(self._key, epoch)
        returns, lengths = jax.device_get(run.finish(self._program, model, key, jnp.asarray(False)))
        if not np.isfinite(returns.mean()):
            steps = epoch * self._config.steps_per_epoch
            raise UserError(f"{self._folder}: the training diverged after {steps} steps; lower algorithm.learning_rate")
        return {
            "return_mean": float(returns.mean()),
            "return_std": float(returns.std()),
            "return_min": float(returns.min()),
            "return_max": float(returns.max()),
            "length": float(lengths.mean()),
        }

    def draw(self, rows: list[Row]) -> None:
        """Draw `learning_curve.png`."""
        title = f"{self._config.env}, {self._config.algorithm['name']}"
        draw_curve(self._folder, rows, self.random_return, title)


def train_expert(
    config: ExpertConfig, folder: Path, progress: Progress = silent, note: Note = silent, *, probed: bool = False
) -> dict[str, Any]:
    """Train an expert, from the start or from the last state in the run folder; see `train`.

    Args:
        config: Settings.
        folder: Existing run folder. `progress.csv` and `learning_curve.png` are written at every evaluation,
            `expert.npz` when an evaluation is the best one, and `checkpoints/` holds the last two states.
        progress: Told the stage and the environment steps so far.
        note: Told what the user should read at once, and once what could not be done and is not needed to go on.
        probed: Whether `check_reward` has let these settings pass already.

    Returns:
        Figures of the training; `complete` is True.

    Raises:
        Stopped: The user stopped the training; its state is saved.
        KeyboardInterrupt: The user stopped it before there was a state.
        UserError: The environment cannot be trained on, see `check_reward` as well, or a saved state cannot be gone on
            from.
        MissingExtraError: An extra is not installed.
    """
    if not saved_epochs(folder):
        for remark in config.remarks():
            note(remark)
        if not probed:
            check_reward(config, progress, note)
    start_key, play_key = jax.random.split(jax.random.key(config.seed))
    learner = ExpertLearner(config.make_algorithm(), config.make_env(), config.iterations_per_epoch)
    returns = Returns(config, learner.env, folder, play_key)
    facts = {"env": config.env, "env_options": dict(config.env_options), "algorithm": config.algorithm["name"]}

    def save(actor: Actor, row: Row) -> None:
        write_actor(folder / ACTOR_FILE, actor, facts | {"steps": row["steps"], "return": row["return_mean"]})

    trained = train(
        learner,
        folder,
        key=start_key,
        epochs=config.epochs,
        epochs_per_evaluation=config.epochs_per_evaluation,
        evaluate=returns,
        save=save,
        progress=progress,
        note=note,
    )
    return {
        "env": config.env,
        "algorithm": config.algorithm["name"],
        "complete": True,
        "steps": trained.steps,
        "updates": trained.updates,
        "best_return": trained.best["return_mean"],
        "best_steps": trained.best["steps"],
        "final_return": trained.rows[-1]["return_mean"],
        "random_return": returns.random_return,
        "train_s": trained.train_seconds,
        "compile_s": trained.compile_seconds,
        "device": jax.devices()[0].device_kind,
    }


@functools.partial(jax.jit, static_argnums=(0, 1))
def _play(
    env: TrainingEnv, episodes: int, actor: Actor, key: Key[Array, ""], random: Bool[Array, ""]
) -> tuple[Float[Array, " E"], Int[Array, " E"]]:
    return env.evaluate(actor, key, episodes, random)
