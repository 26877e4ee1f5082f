"""One run of several, in a process of its own: `python -m ibrl_fast.training.group.worker`.

The first line on stdin is a JSON object: {"config": of the run, "resume": whether it goes on, "methods": the
table of methods}. A later line {"stop": signal} asks it to save and end, as does the end of stdin: who
started it is gone. On stdout it answers with the events of `display.RemoteDisplay`, and at the end with
one of {"ended": "finished" | "interrupted"} and {"ended": "failed", "message"}; stderr is its log.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ibrl_fast.training.trainer import Trainer


class Listener:
    """Takes in what comes on stdin, from the first moment on."""

    def __init__(self) -> None:
        self.trainer: Trainer | None = None
        self._first: dict[str, Any] | None = None
        self._came = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()

    def first(self) -> dict[str, Any]:
        """Wait for the first line."""
        self._came.wait()
        assert self._first is not None
        return self._first

    def _listen(self) -> None:
        # a stream of its own: the interpreter's end, after an error, waits for whoever holds sys.stdin
        with open(0, "rb", closefd=False) as stream:
            for line in stream:
                message = json.loads(line)
                if self._first is None:
                    self._first = message
                    self._came.set()
                else:
                    self._stop(message["stop"])
        self._stop(signal.SIGTERM)

    def _stop(self, number: int) -> None:
        if self.trainer is None:
            # nothing was begun
            os._exit(128 + number)
        self.trainer.stop.set(number)


def main() -> None:
    """Do one run."""
    listener = Listener()
    # Answers go to the real stdout; whatever a library prints goes to the log
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    from ibrl_fast.agents import METHODS
    from ibrl_fast.errors import UserError
    from ibrl_fast.training.config import TrainConfig
    from ibrl_fast.training.config_file import config_from_dict
    from ibrl_fast.training.group.display import RemoteDisplay
    from ibrl_fast.training.trainer import Trainer

    def answer(event: dict[str, Any]) -> None:
        # the process that asked may be gone: the run is saved all the same
        with suppress(BrokenPipeError):
            print(json.dumps(event), file=answers)

    job = listener.first()
    METHODS.update(job["methods"])
    try:
        config = config_from_dict(job["config"])
        assert isinstance(config, TrainConfig)
        if job["resume"]:
            trainer = Trainer.from_checkpoint(config.run_dir)
        else:
            # what a run left that was killed before its first checkpoint
            trainer = Trainer(config, overwrite=True)
        trainer.display = lambda: RemoteDisplay(answer)
        listener.trainer = trainer
        answer({"ended": "interrupted" if trainer.run().interrupted else "finished"})
    except KeyboardInterrupt:
        answer({"ended": "interrupted"})
    except UserError as error:
        answer({"ended": "failed", "message": str(error)})


if __name__ == "__main__":
    main()
