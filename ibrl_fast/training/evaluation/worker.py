"""A background process that evaluates policies: `python -m ibrl_fast.training.evaluation.worker`.

The first line on stdin is the `EvaluationSpec` as JSON. Every job is a line and the bytes of a TorchScript
file: {"ticket", "policy_bytes": how many, "episodes": positions, "video": file or null}. One line answers it:
{"ticket", ... the fields of `EpisodePart`}.

The process ends at once when its stdin closes: the trainer closed it, or is gone.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from pathlib import Path
from typing import Any

Job = tuple[dict[str, Any], bytes]


def read_jobs(jobs: queue.Queue[Job]) -> None:
    """Hands over everything that comes on stdin, as it comes; its end is the end of this process."""
    # a stream of its own: the interpreter's end, after an error, waits for whoever holds sys.stdin
    with open(0, "rb", closefd=False) as stream:
        for line in stream:
            message = json.loads(line)
            jobs.put((message, stream.read(message.get("policy_bytes", 0))))
    os._exit(0)


def main() -> None:
    """Serve jobs until stdin ends."""
    # from the first moment on, imports included: nothing of a trainer that was killed stays behind
    jobs: queue.Queue[Job] = queue.Queue()
    threading.Thread(target=read_jobs, args=(jobs,), daemon=True).start()

    import dataclasses
    import io

    import torch

    from ibrl_fast.training.evaluation.evaluator import EpisodeRunner, EvaluationSpec

    torch.set_num_threads(1)

    # Answers go to the real stdout; whatever a library prints goes to stderr
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    values, _ = jobs.get()
    runner = EpisodeRunner(EvaluationSpec(**{**values, "seeds": tuple(values["seeds"])}))
    while True:
        job, content = jobs.get()
        policy = torch.jit.load(io.BytesIO(content))
        video = None if job["video"] is None else Path(job["video"])
        part = runner.run(policy.act, job["episodes"], video)
        print(json.dumps({"ticket": job["ticket"], **dataclasses.asdict(part)}), file=answers)


if __name__ == "__main__":
    main()
