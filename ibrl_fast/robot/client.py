"""The control loop: observation, policy, safety, command, at absolute deadlines of the monotonic clock.

One tick: wait for its deadline, ask the switches, read the sensors, ask the policy, filter its command, send
it. A deadline that passes while a step is still under way is missed: it is counted, and the loop goes on with
the next one that lies ahead, never with a burst. What cannot be acted on (an old reading, an answer that
comes after the next deadline) makes the robot hold; several in a row stop it. A stop is latched: only `arm`
with every switch released lets it move again.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import get_args

import numpy as np

from ibrl_fast.errors import UserError, expect, first_line
from ibrl_fast.robot.actions import ActionMap, check_action_dim
from ibrl_fast.robot.clock import Clock, MonotonicClock, sleep_until
from ibrl_fast.robot.episode import Episode, Mode, Outcome, Recorder, Step
from ibrl_fast.robot.fit import RunsOnRobot, check_rate, check_sensors
from ibrl_fast.robot.limits import SafetyLimits
from ibrl_fast.robot.robot import Array, BoundaryError, Command, Observation, Robot, RobotError, RobotInfo
from ibrl_fast.robot.safety import Filtered, MotionHistory, filter_command
from ibrl_fast.robot.switches import StopLatch, Switch
from ibrl_fast.robot.timing import StepTimes
from ibrl_fast.robot.watch import SensorWatch

Success = Callable[[Sequence[Observation]], bool]
"""Whether the observations of an episode so far, oldest first, show success."""
Mover = Callable[[Observation], Array]
"""What moves the robot while the policy only watches: observation to action in [-1, 1]."""


class _End(Exception):
    """The episode is over."""

    def __init__(self, outcome: Outcome, detail: str) -> None:
        super().__init__(detail)
        self.outcome: Outcome = outcome


class RobotClient:
    """Runs a policy on a robot.

    Args:
        robot: hardware, a connection to it (`RemoteRobot`) or a simulation.
        policy: from `load_policy`.
        rate_hz: commands per second.
        safety: what every command is held to.
        success: detects success (`ibrl_fast.robot.success`); None: episodes end otherwise.
        actions: what actions mean in metres.
        switches: emergency stops and dead-man switches, all of which must allow motion; closed by `close`.
        mode: `run`, `dry` (everything but motion) or `shadow` (something else moves).
        mover: in shadow mode, what moves the robot through the same safety filter; None: the client sends
            nothing, and somebody moves the robot by other means.
        max_steps: ticks until an episode is given up.
        max_age: oldest reading that is acted on, s: for all sensors, or by name.
        max_same_frames: how often a camera may repeat an image (`SensorWatch`); None: always.
        max_holds: ticks in a row at which the robot holds; one more stops it.
        recorder: what keeps episodes.
        clock: of robot and loop; a `ManualClock` makes a run repeat to the last bit.

    Raises:
        ArgumentError: an option that cannot be.
    """

    def __init__(
        self,
        robot: Robot,
        policy: RunsOnRobot,
        rate_hz: float = 10.0,
        *,
        safety: SafetyLimits,
        success: Success | None = None,
        actions: ActionMap | None = None,
        switches: Sequence[Switch] = (),
        mode: Mode = "run",
        mover: Mover | None = None,
        max_steps: int = 150,
        max_age: float | Mapping[str, float] = 0.2,
        max_same_frames: int | None = None,
        max_holds: int = 3,
        recorder: Recorder | None = None,
        clock: Clock | None = None,
    ) -> None:
        expect(0.0 < rate_hz <= 1000.0, "rate_hz", "> 0 and at most 1000", rate_hz)
        expect(mode in get_args(Mode), "mode", ", ".join(get_args(Mode)), mode)
        expect(mover is None or mode == "shadow", "mover", f"none in mode {mode}", mover)
        expect(max_steps >= 1, "max_steps", ">= 1", max_steps)
        expect(max_holds >= 0, "max_holds", ">= 0", max_holds)
        check_action_dim(policy.contract.action_dim)
        check_rate(rate_hz, policy.contract)
        self.period = 1.0 / rate_hz
        """Seconds between two commands."""
        self._robot, self._policy, self._safety, self._success = robot, policy, safety, success
        self._actions = actions or ActionMap()
        self._latch = StopLatch(switches)
        self._mode, self._mover = mode, mover
        self._max_steps, self._max_holds = max_steps, max_holds
        self._watch = SensorWatch(policy.contract.observations, max_age, max_same_frames)
        self._recorder = recorder
        self._clock = clock or MonotonicClock()
        self._info: RobotInfo | None = None
        self._is_armed = False

    @property
    def is_armed(self) -> bool:
        """Whether an episode may begin."""
        return self._is_armed

    @property
    def stop_reason(self) -> str | None:
        """What stopped the robot and is not released by `arm` yet; None: nothing."""
        return self._latch.reason

    def arm(self) -> None:
        """Get ready: connect, compare robot and policy, warm the policy up, release a latched stop.

        Raises:
            RobotError: a switch forbids motion, or the robot does not answer.
            ArgumentError: a robot that does not measure what the policy needs.
        """
        if self._info is None:
            self._info = self._robot.connect()
        check_sensors(self._info, self._policy.contract)
        self._policy.warm_up()
        self._policy.reset()
        self._latch.release(self._clock.now())
        self._is_armed = True

    def run_episode(self) -> Episode:
        """Reset the robot and run one episode; whatever happens, the robot holds or is stopped afterwards.

        Raises:
            RobotError: the client is not armed, or the robot cannot be reset.
            UserError: the recorder cannot keep the episode.
        """
        if not self._is_armed or self._info is None:
            reason = self._latch.reason
            raise RobotError(f"episode: expected an armed client, got {reason or 'one that is not'}; arm it")
        if self._recorder is not None:
            facts = {"mode": self._mode, "mover": self._mover is not None, "period": self.period}
            self._recorder.prepare(self._info, {**facts, **self._policy.contract.metadata})
        episode = Episode()
        try:
            if self._moves:
                self._reset()
            self._policy.reset()
            self._watch.reset()
            self._loop(episode)
        except _End as end:
            episode.outcome, episode.detail = end.outcome, str(end)
        except BaseException as error:
            # Ctrl-C, or a mistake of the program: nothing may go on moving, nothing is lost
            episode.outcome = "stopped" if isinstance(error, KeyboardInterrupt) else "fault"
            episode.detail = f"{type(error).__name__}: {first_line(error)}"
            self._halt(episode.detail)
            self._keep(episode)
            raise
        if episode.outcome in ("fault", "stopped"):
            self._halt(episode.detail)
        elif self._moves:
            try:
                self._robot.hold()
            except RobotError as error:
                self._halt(first_line(error))
        self._keep(episode)
        return episode

    def close(self) -> None:
        """Stop the robot and let go of it and of the switches."""
        self._is_armed = False
        if self._info is not None:
            self._info = None
            self._robot.close()
        self._latch.close()

    @property
    def _moves(self) -> bool:
        """Whether this client moves the robot."""
        return self._mode == "run" or self._mover is not None

    def _reset(self) -> None:
        """Reset the robot, however long that takes, with the switches looked at all the while."""
        errors: list[BaseException] = []

        def reset() -> None:
            try:
                self._robot.reset()
            except BaseException as error:
                errors.append(error)

        thread = threading.Thread(target=reset, name="reset", daemon=True)
        thread.start()
        try:
            while thread.is_alive():
                self._check_switches()
                thread.join(0.02)
        except BaseException:
            with suppress(UserError):
                self._robot.stop()
            thread.join()
            raise
        if errors:
            raise errors[0]

    def _halt(self, reason: str) -> None:
        """Stop the robot and latch why."""
        self._is_armed = False
        self._latch.trip(reason)
        with suppress(UserError):  # it may be the connection that failed; the server's watchdog stops it then
            self._robot.stop()

    def _keep(self, episode: Episode) -> None:
        """Hand an episode with its final reward to the recorder."""
        if episode.steps and episode.outcome == "success":
            episode.steps[-1].reward = 1.0
        if self._recorder is not None:
            self._recorder.keep(episode)

    def _loop(self, episode: Episode) -> None:
        """Run ticks until one of them ends the episode."""
        history, holds, seen = MotionHistory(), 0, list[Observation]()
        start, tick = self._clock.now(), 0
        while True:
            times = StepTimes(deadline=start + tick * self.period, started=0.0)
            sleep_until(self._clock, times.deadline)
            times.started = self._clock.now()
            episode.times.append(times)
            observation, held = self._look(times)

            # what the step before led to
            if held is None:
                seen.append(observation)
                episode.last = observation
                if self._success is not None and episode.steps and self._success(seen):
                    raise _End("success", "")
            if len(episode.times) > self._max_steps:
                raise _End("time limit", "")

            # what to do now
            if held is None:
                step, command = self._decide(observation, times, history, episode)
                held = step.held
                if command is not None:
                    history = history.after(command, self._clock.now())
            if held is None:
                holds = 0
            else:
                name = held.partition(":")[0]
                episode.held[name] = episode.held.get(name, 0) + 1
                holds += 1
                if holds > self._max_holds:
                    raise _End("fault", f"held {holds} times in a row: {held}")
                self._hold()

            # the next deadline that lies ahead
            behind = (self._clock.now() - start) / self.period - tick
            skipped = max(0, math.ceil(behind - 1e-6) - 1)
            episode.missed += skipped
            tick += 1 + skipped

    def _look(self, times: StepTimes) -> tuple[Observation, str | None]:
        """Read the sensors; also say why what they tell must not be acted on."""
        self._check_switches()
        try:
            observation = self._robot.observe()
        except BoundaryError as error:
            raise _End("boundary", first_line(error)) from error
        except RobotError as error:
            raise _End("fault", first_line(error)) from error
        times.observed = self._clock.now()
        return observation, self._watch.check(observation, times.observed)

    def _decide(
        self, observation: Observation, times: StepTimes, history: MotionHistory, episode: Episode
    ) -> tuple[Step, Command | None]:
        """Ask the policy, filter and send; return the step, already kept, and what was sent."""
        try:
            proposed = self._policy.step(self._watch.frame(observation))
            wanted = proposed if self._mover is None else self._mover(observation)
        except (RuntimeError, ValueError, TypeError) as error:
            raise _End("fault", f"policy: {first_line(error)}") from error
        times.decided = self._clock.now()
        command = self._actions.command(wanted)
        filtered = filter_command(command, observation.state, self._safety, history, times.decided)
        times.filtered = self._clock.now()

        # an answer to what was true a step ago is no answer
        late = times.filtered - times.deadline - self.period
        held = f"late: the answer came {1e3 * late:.0f} ms after the next deadline" if late > 0.0 else None
        step = Step(
            observation,
            self._done(observation, None if held else filtered.command),
            np.array(proposed, dtype=np.float32),
            self._policy.source,
            filtered.interventions,
            held,
            times,
            candidates=getattr(self._policy, "candidates", None),
            scores=getattr(self._policy, "scores", None),
        )
        if filtered.end is not None:
            self._end_by_safety(step, wanted, filtered, episode)
        if held is None and filtered.command is not None and self._moves:
            self._check_switches()
            try:
                self._robot.command(filtered.command)
            except BoundaryError as error:
                # its own filter, with a newer state, sees what this one did not
                step.action = np.clip(np.array(wanted, dtype=np.float32), -1.0, 1.0)
                episode.steps.append(step)
                raise _End("boundary", first_line(error)) from error
            except RobotError as error:
                raise _End("fault", first_line(error)) from error
        if held is None:
            times.sent = self._clock.now()
        episode.steps.append(step)
        return step, None if held else filtered.command

    def _end_by_safety(self, step: Step, wanted: Array, filtered: Filtered, episode: Episode) -> None:
        """End the episode; what was asked for is kept as its last step, for it is what led there."""
        detail = filtered.interventions[-1].detail
        if filtered.end == "fault" or not np.isfinite(wanted).all():
            raise _End("fault", detail)
        is_outside = any(intervention.rule == "outside" for intervention in filtered.interventions)
        if not is_outside or not episode.steps:
            step.action = np.clip(np.array(wanted, dtype=np.float32), -1.0, 1.0)
            episode.steps.append(step)
        raise _End("motion" if filtered.end == "motion" else "boundary", detail)

    def _done(self, observation: Observation, command: Command | None) -> Array:
        """Return the action `[action_dim]` that was done: nothing, where no command was sent."""
        gripper = observation.state.gripper_target
        return self._actions.action(command or Command(), gripper, self._policy.contract.action_dim)

    def _hold(self) -> None:
        if self._moves:
            try:
                self._robot.hold()
            except RobotError as error:
                raise _End("fault", first_line(error)) from error

    def _check_switches(self) -> None:
        if (reason := self._latch.check(self._clock.now())) is not None:
            raise _End("stopped", reason)
