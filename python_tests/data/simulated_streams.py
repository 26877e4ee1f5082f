"""A device on the CPU whose streams run in any order that their events allow, one that is drawn at random."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
import torch

from ibrl_fast.data.streams import Streams


@dataclass
class Event:
    """How often it was recorded, and how many of these recordings have happened."""

    recorded: int = 0
    happened: int = 0


class SimulatedStreams(Streams):
    """Queues what it is given; `advance` runs some of it. `log` names what was queued, in order."""

    asynchronous = True

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.queues: list[deque] = []
        self.running: set[int] = set()
        self.log: list[tuple] = []
        self.stream = self.new_stream()
        self.capturing = False
        self.host_waits = 0

    def current(self):
        return self.stream

    def new_stream(self):
        self.queues.append(deque())
        return len(self.queues) - 1

    def run(self, stream, call):
        self.log.append(("run", stream))
        self.queues[stream].append((call, None))

    def record(self, stream, event=None):
        event = event or Event()
        event.recorded += 1
        self.log.append(("record", stream))
        self.queues[stream].append((lambda number=event.recorded: setattr(event, "happened", number), None))
        return event

    def wait(self, stream, event):
        self.log.append(("wait", stream))
        self.queues[stream].append((lambda: None, (event, event.recorded)))

    def finish(self, event):
        number = event.recorded
        self.host_waits += event.happened < number
        while event.happened < number:
            assert self.step(), "deadlock: no stream can go on"

    def pinned(self, num_bytes):
        return torch.empty(num_bytes, dtype=torch.uint8)

    def is_capturing(self):
        return self.capturing

    def step(self) -> bool:
        """Runs the next work of a random stream that need not wait; False where there is none."""
        ready = [
            number
            for number, queue in enumerate(self.queues)
            if queue
            and number not in self.running
            and (queue[0][1] is None or queue[0][1][0].happened >= queue[0][1][1])
        ]
        if not ready:
            return False
        chosen = int(self.rng.choice(ready))
        call, _ = self.queues[chosen].popleft()
        self.running.add(chosen)
        call()
        self.running.discard(chosen)
        return True

    def advance(self, most: int) -> None:
        """Runs up to `most` pieces of work."""
        for _ in range(most):
            if not self.step():
                return

    def finish_all(self) -> None:
        """Runs everything."""
        while self.step():
            pass
        assert not any(self.queues), "deadlock: no stream can go on"
