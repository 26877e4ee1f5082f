"""A background process that evaluates policy files: `python -m ibrl_fast.training.evaluation_worker`.

The first line on stdin is the `EvaluationSpec` as JSON; every further line is a job, answered by one line:
{"ticket", "policy": file, "episodes": positions, "video": file or null} ->
{"ticket", ... the fields of `EpisodePart`}.
The process ends when its stdin closes.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path

import torch

from ibrl_fast.training.evaluate import EpisodeRunner, EvaluationSpec


def main() -> None:
    """Serves jobs until stdin ends."""
    torch.set_num_threads(1)

    # Answers go to the real stdout; whatever a library prints goes to stderr
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    values = json.loads(sys.stdin.readline())
    runner = EpisodeRunner(EvaluationSpec(**{**values, "seeds": tuple(values["seeds"])}))
    for line in sys.stdin:
        job = json.loads(line)
        policy = torch.jit.load(job["policy"])
        video = None if job["video"] is None else Path(job["video"])
        part = runner.run(policy.act, job["episodes"], video)
        print(json.dumps({"ticket": job["ticket"], **dataclasses.asdict(part)}), file=answers)


if __name__ == "__main__":
    main()
