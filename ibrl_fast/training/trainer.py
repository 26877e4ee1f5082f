"""The loop: collect, update, evaluate, save. The only place that knows the schedule (Algorithm 1)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch

from ibrl_fast.deploy.export import export_policy, make_policy_module, script_policy
from ibrl_fast.deploy.policy_module import enable_rl
from ibrl_fast.envs import resolve_task
from ibrl_fast.errors import first_line
from ibrl_fast.training.build import build_run, check_device, make_update_round, restore_run
from ibrl_fast.training.checkpoint import CHECKPOINT_NAME, fitting, load_run, save_checkpoint
from ibrl_fast.training.collector import ActingMode
from ibrl_fast.training.config import TrainConfig, threads_from_environment
from ibrl_fast.training.config_file import config_from_dict, config_to_dict, save_config
from ibrl_fast.training.evaluate import EvaluationResult, can_film
from ibrl_fast.training.evaluation_process import EvaluationError
from ibrl_fast.training.gate import DeploymentGate
from ibrl_fast.training.graph_capture import UpdateRound
from ibrl_fast.training.host_memory import keep_freed_memory, memory_errors
from ibrl_fast.training.interruption import StopWish, stop_on_signals
from ibrl_fast.training.interval_log import IntervalLog
from ibrl_fast.training.logging import MetricsLogger, PhaseTimer
from ibrl_fast.training.profile import StepProfiler
from ibrl_fast.training.progress import RunProgress
from ibrl_fast.training.report import plot_phase_seconds, write_report
from ibrl_fast.training.result import Counters, TrainResult, describe, write_summary
from ibrl_fast.training.run_folder import POLICY_NAME, VIDEO_NAME, RunFolder, claim, reopen


class Trainer:
    """One training run.

    Args:
        config: the run.
        quiet: no progress display (records and files are written all the same).
        profile: adds a trace of some steps and where their time went (`StepProfiler`).
        overwrite: replace a run that lies in the run's folder, which is an error otherwise.

    Raises:
        ValueError: an unknown task, or a device that this machine lacks.

    Example:
        result = Trainer(presets.quickstart()).run()
    """

    def __init__(
        self, config: TrainConfig, *, quiet: bool = False, profile: bool = False, overwrite: bool = False
    ) -> None:
        resolve_task(config.env.task)
        check_device(config)
        self.config = config
        self.run_dir = config.resolved_run_dir()
        self._quiet = quiet
        self._profile = profile
        self._overwrite = overwrite
        self._content: dict[str, Any] | None = None
        self._content_version: tuple[int, ...] = ()
        self._stop = StopWish()

    @classmethod
    def from_checkpoint(cls, path: Path | str, *, quiet: bool = False) -> Trainer:
        """A trainer that goes on where a run folder's checkpoint stands, bit for bit on the CPU.

        Raises:
            CheckpointError: no readable checkpoint there.
        """
        run_dir = Path(path) if Path(path).is_dir() else Path(path).parent
        version, content = _file_version(run_dir), load_run(Path(path))
        with fitting(Path(path)):
            config = config_from_dict(json.loads(content["config"]))
        trainer = cls(config, quiet=quiet)
        trainer.run_dir = run_dir
        trainer._content, trainer._content_version = content, version
        return trainer

    @property
    def stopped_by(self) -> int | None:
        """The signal (SIGINT, SIGTERM) that stopped the run; None where none did."""
        return self._stop.number if self._stop.is_set() else None

    def run(self) -> TrainResult:
        """Runs to the end, or until Ctrl-C or SIGTERM, which save a checkpoint first.

        Raises:
            ArgumentError: another run lies in the folder, or another process works there.
        """
        config = self.config
        keep_freed_memory()
        started = time.perf_counter()
        self._timer = PhaseTimer(profiled=self._profile)
        self._progress = RunProgress(quiet=self._quiet)

        with memory_errors(), stop_on_signals(self._stop), self._progress, ExitStack() as closers:
            closers.callback(torch.set_num_threads, torch.get_num_threads())
            torch.set_num_threads(config.cpu_threads())
            if not config.num_threads and threads_from_environment() is not None:
                self._progress.say(f"{config.cpu_threads()} CPU threads, as OMP_NUM_THREADS asks")
            folder = self._claim_folder()
            closers.callback(folder.close)
            content, resume_at = self._content, None
            if content is None:
                self._counters = Counters()
                try:
                    save_config(config, self.run_dir)
                    self._parts = build_run(
                        config, self.run_dir, self._timer, self._progress, self._stop, closers
                    )
                except BaseException:
                    folder.remove_unused()
                    raise
            else:
                with fitting(self.run_dir):
                    self._counters = Counters(**content["counters"])
                    resume_at = self._env_steps
                    self._timer.seconds.update(content["seconds"])
                    self._parts = restore_run(config, content, closers, self._progress.say)
            self._started = started - self._counters.wall_seconds
            self._gate = None if config.gate is None else DeploymentGate(config.gate)
            self._logger = MetricsLogger(self.run_dir, resume_at=resume_at, say=self._progress.say)
            closers.callback(self._logger.close)
            self._interval = IntervalLog(self._logger, config.critic_updates)
            self._update_round: UpdateRound | None = None
            if self._parts.buffer is not None:
                self._update_round = make_update_round(
                    config, self._parts.agent, self._parts.buffer, self._timer
                )
            if content is not None:
                with fitting(self.run_dir):
                    if self._gate is not None:
                        self._gate.load_state_dict(content["gate"])
                    if self._update_round is not None:
                        self._update_round.load_state_dict(content["metrics"])
                    self._interval.load_state(content["recent"])
            self._profiler = None
            if self._profile and self._parts.collector is not None:
                self._profiler = StepProfiler(self.run_dir, config.device, self._progress.say)
                closers.callback(self._close_profiler)
            try:
                return self._run()
            except EvaluationError:
                self._save()
                self._progress.say(f"saved; ibrl-fast resume {self.run_dir} goes on without this evaluation")
                raise

    def _claim_folder(self) -> RunFolder:
        """The run's folder, which no other process works in until it is closed."""
        if self._content is None:
            return claim(self.run_dir, overwrite=self._overwrite)
        folder = reopen(self.run_dir)
        # another process may have gone on with the run since its checkpoint was read
        if _file_version(self.run_dir) != self._content_version:
            try:
                self._content = load_run(self.run_dir)
            except BaseException:
                folder.close()
                raise
        return folder

    # ---- phases ----

    def _run(self) -> TrainResult:
        counters, config = self._counters, self.config
        if self._content is None:
            self._start()
        self._module = make_policy_module(self._parts.agent, self._parts.contract)
        self._policy = script_policy(self._module)
        self._interval.mark(self._env_steps, counters.rounds)
        if config.method != "bc":
            with self._progress.bar("training", config.total_env_steps) as update:
                while (
                    self._env_steps < config.total_env_steps
                    and not self._solved()
                    and not self._stop.is_set()
                ):
                    self._step()
                    update(self._env_steps)
        if self._stop.is_set():
            self._save()
            self._progress.say(
                f"stopped at {self._env_steps} environment steps; the checkpoint is in {self.run_dir}"
            )
            return self._result(None, interrupted=True)
        counters.wall_seconds = time.perf_counter() - self._started
        return self._finish()

    def _start(self) -> None:
        """Logs what imitation alone can do, opens the first episodes, and saves: runs resume from here on."""
        parts, config = self._parts, self.config
        if parts.bc_result is not None:
            during = parts.bc_result.part(self._episodes_during)
            self._counters.bc_success_rate = parts.bc_result.part(self._episodes_at_the_end).success_rate
            self._logger.log("bc", 0, during.metrics())
            self._progress.say(describe("imitation policy", during))
        if parts.collector is not None:
            parts.collector.start(config.seed)
        self._counters.next_evaluation = config.evaluation.every_env_steps
        self._counters.next_checkpoint = config.checkpoint_every_env_steps
        if parts.collector is not None:
            self._save()

    def _step(self) -> None:
        """One agent step in every environment, and what falls due after it."""
        config, counters, collector = self.config, self._counters, self._parts.collector
        assert collector is not None
        mode = self._mode()
        with self._timer("collect"):
            collector.begin(mode)
        if config.overlap_collection:
            self._update_owed()
        with self._timer("collect"):
            records = collector.finish()
        counters.agent_steps += config.env.num_envs
        if mode != "agent":
            counters.warmup_steps = counters.agent_steps
        for record in records:
            counters.episodes += 1
            self._interval.episode(self._env_steps, record)
            if self._gate is not None:
                self._gate.record(record.success, from_il=mode == "il")

        # After the warm-up every step counts towards the next update round
        if counters.episodes >= config.warmup_episodes:
            counters.steps_owed += config.env.num_envs
        if not config.overlap_collection:
            self._update_owed()
        if self._profiler is not None and counters.rounds:
            self._profiler.step()

        # What the schedule asks for
        if self._env_steps >= counters.next_evaluation:
            counters.next_evaluation += config.evaluation.every_env_steps
            self._evaluate()
        self._collect_evaluations(wait=False)
        if self._env_steps >= counters.next_checkpoint:
            counters.next_checkpoint += config.checkpoint_every_env_steps
            self._save()

    def _mode(self) -> ActingMode:
        if self._counters.episodes >= self.config.warmup_episodes:
            return "agent"
        return "il" if self.config.method == "ibrl" else "random"

    def _update_owed(self) -> None:
        """The update rounds that are due: one for every U agent steps, and once those of the warm-up."""
        counters, config = self._counters, self.config
        if counters.steps_owed and counters.rounds == 0:
            for _ in range(config.warmup_updates):
                self._update()
        while counters.steps_owed >= config.update_frequency:
            counters.steps_owed -= config.update_frequency
            self._update()

    def _update(self) -> None:
        """One update round, and its record when that is due."""
        assert self._update_round is not None
        self._update_round()
        self._counters.rounds += 1
        if self._counters.rounds % self.config.log_every_updates == 0:
            self._log_training()

    # ---- evaluation ----

    def _evaluate(self) -> None:
        """Hands the policy to the evaluator; earlier results are waited for, so that runs repeat."""
        with self._timer("evaluate"):
            self._collect_evaluations(wait=True)
            self._gate_was_open = self._gate is None or self._gate.is_open
            episodes = range(self.config.evaluation.episodes)
            self._parts.evaluator.submit(self._policy, self._env_steps, episodes=episodes)
            if self.config.stop_at_success_rate is not None:
                self._collect_evaluations(wait=True)

    @property
    def _episodes_during(self) -> slice:
        """Evaluation episodes during training: the first half of the evaluator's seeds."""
        return slice(0, self.config.evaluation.episodes)

    @property
    def _episodes_at_the_end(self) -> slice:
        """Those of the last evaluation: on them nothing was selected or stopped."""
        return slice(self.config.evaluation.episodes, 2 * self.config.evaluation.episodes)

    def _collect_evaluations(self, *, wait: bool) -> None:
        for env_steps, result in self._parts.evaluator.finished(wait=wait):
            self._log_evaluation(env_steps, result)

    def _log_evaluation(self, env_steps: int, hybrid: EvaluationResult) -> None:
        # Behind a closed gate the deployed policy is the imitation policy, whose episodes are known already
        deployed = hybrid
        metrics = {"wall_seconds": time.perf_counter() - self._started, "cpu_seconds": time.process_time()}
        if self._gate is not None:
            assert self._parts.bc_result is not None
            deployed = hybrid if self._gate_was_open else self._parts.bc_result.part(self._episodes_during)
            metrics |= {"gate_open": float(self._gate_was_open), "hybrid_success_rate": hybrid.success_rate}
        self._logger.log("eval", env_steps, {**deployed.metrics(), **metrics})
        self._progress.say(describe(f"{env_steps:>7} steps", deployed))
        rate = self.config.stop_at_success_rate
        if rate is not None:
            in_a_row = self._counters.good_evaluations + 1
            self._counters.good_evaluations = in_a_row if deployed.success_rate >= rate else 0

    def _solved(self) -> bool:
        return self._counters.good_evaluations >= 2

    # ---- records ----

    @property
    def _env_steps(self) -> int:
        return self._counters.agent_steps * self.config.env.action_repeat

    def _log_training(self) -> None:
        assert self._update_round is not None and self._parts.buffer is not None
        metrics: dict[str, Any] = self._update_round.pop()
        metrics["buffer_steps"] = len(self._parts.buffer)
        metrics["wall_seconds"] = time.perf_counter() - self._started
        self._interval.train(self._env_steps, self._counters.rounds, metrics, self._timer.seconds)

    def _save(self) -> None:
        """Writes the checkpoint; evaluations under way are waited for and recorded first."""
        with self._timer("checkpoint"):
            self._collect_evaluations(wait=True)
            self._counters.wall_seconds = time.perf_counter() - self._started
            content = {
                "config": json.dumps(config_to_dict(self.config)),
                "counters": vars(self._counters),
                "torch_rng": torch.get_rng_state(),
                "gate": None if self._gate is None else self._gate.state_dict(),
                "metrics": None if self._update_round is None else self._update_round.state_dict(),
                "recent": self._interval.state(),
                "seconds": dict(self._timer.seconds),
                **self._parts.state_dict(),
            }
            save_checkpoint(self.run_dir / CHECKPOINT_NAME, content)

    def _finish(self) -> TrainResult:
        """The exported policy, its last evaluation and the summary; then what decorates them."""
        parts, config = self._parts, self.config
        self._save()
        if self._gate is not None:
            enable_rl(self._module, self._gate.is_open)
        export_policy(self._module, self.run_dir / POLICY_NAME)
        with self._timer("evaluate"):
            self._collect_evaluations(wait=True)
            filmed = config.evaluation.video_episodes > 0 and can_film(self._progress.say)
            video = self.run_dir / VIDEO_NAME if filmed else None
            end = self._episodes_at_the_end
            episodes = range(end.start, end.stop)
            parts.evaluator.submit(self._policy, self._env_steps, episodes=episodes, video=video)
            ((env_steps, final),) = parts.evaluator.finished(wait=True)
        metrics = {
            **final.metrics(),
            "warmup_env_steps": self._counters.warmup_steps * config.env.action_repeat,
            "wall_seconds": time.perf_counter() - self._started,
        }
        self._logger.log("summary", env_steps, metrics)
        self._progress.say(describe("final policy", final))
        result = self._result(final)
        write_summary(result, self._timer.seconds)

        # Nothing from here on can fail the run
        if final.no_video:
            self._progress.say(f"no video: {final.no_video}")
        with self._decorating("pictures"):
            plot_phase_seconds(self._timer.seconds, self.run_dir / "phases.png")
            if config.method != "bc":
                write_report([self.run_dir], self.run_dir)
        return result

    @contextmanager
    def _decorating(self, what: str) -> Iterator[None]:
        """Around what makes a run's records nicer: a failure is said, and no more."""
        try:
            yield
        except Exception as error:
            self._progress.say(f"no {what}: {first_line(error)}")

    def _close_profiler(self) -> None:
        """Writes what `--profile` asked for."""
        if self._profiler is not None:
            with self._decorating("profile"):
                self._profiler.finish()

    def _result(self, final: EvaluationResult | None, *, interrupted: bool = False) -> TrainResult:
        return TrainResult(
            success_rate=None if final is None else final.success_rate,
            success_low=None if final is None else final.success_low,
            success_high=None if final is None else final.success_high,
            bc_success_rate=self._counters.bc_success_rate,
            env_steps=self._env_steps,
            wall_seconds=time.perf_counter() - self._started,
            run_dir=self.run_dir,
            policy_path=None if interrupted else self.run_dir / POLICY_NAME,
            interrupted=interrupted,
        )


def _file_version(run_dir: Path) -> tuple[int, ...]:
    """What changes whenever a folder's checkpoint is written anew; empty where there is none."""
    try:
        status = (run_dir / CHECKPOINT_NAME).stat()
    except OSError:
        return ()
    return status.st_ino, status.st_mtime_ns, status.st_size
