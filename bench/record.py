"""The options that every bench has, and the one way to write what it measured."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from machine import ROOT, machine_facts, source_tree
from timing import Timing

RESULTS = ROOT / "bench" / "results"


def bench_parser(description: str | None) -> argparse.ArgumentParser:
    """Make a parser with the options of `Results`."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results")
    parser.add_argument(
        "--variant",
        help="write bench_NAME_VARIANT.json instead of bench_NAME.json (default on a GPU: cuda)",
    )
    parser.add_argument(
        "--draft", action="store_true", help="measure what is not committed, too; the result says draft"
    )
    parser.add_argument("--plot", action="store_true", help="draw a picture beside the JSON as well")
    return parser


class Results:
    """The result file of one bench, `bench_NAME[_VARIANT].json`: from a clean commit, or marked as a draft.

    Attributes:
        path: where it is written.
        picture: where its picture belongs.
        facts: of the machine, taken before anything was measured.
    """

    def __init__(self, options: argparse.Namespace, device: torch.device | str = "cpu") -> None:
        """Refuse to measure what no commit holds, before any time is spent.

        Args:
            options: what a `bench_parser` read.
            device: where the work happens.

        Raises:
            SystemExit: the tree has changes that are not committed, and `--draft` was not given.
        """
        self._tree, self._draft = source_tree(), options.draft
        if self._tree.changes and not options.draft:
            changes = ", ".join(self._tree.changes[:5])
            raise SystemExit(f"source tree: expected a clean commit (or --draft), got {changes}")
        kind = torch.device(device).type
        variant = options.variant if options.variant is not None else "" if kind == "cpu" else kind
        stem = Path(sys.argv[0]).stem
        self.path: Path = options.out / f"{stem}{'_' * bool(variant)}{variant}.json"
        self.picture = self.path.with_suffix(".png")
        self.facts = machine_facts(device)
        self._time = datetime.now(UTC).isoformat(timespec="seconds")

    @property
    def header(self) -> dict[str, Any]:
        """Command, commit, time and machine; `draft` where the commit does not say all that was measured."""
        tree = source_tree()
        draft = self._draft or tree != self._tree
        return {
            "command": _command(),
            "commit": self._tree.commit,
            **({"draft": True} if draft else {}),
            "time": self._time,
            "machine": self.facts,
        }

    def earlier(self) -> dict[str, Any]:
        """Read what an earlier run wrote; empty where there is nothing."""
        return json.loads(self.path.read_text()) if self.path.exists() else {}

    def write(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """Write header and `content` as JSON, Timings as dicts; return what a reader of the file gets."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({**self.header, **content}, indent=1, default=_plain)
        self.path.write_text(text + "\n")
        return json.loads(text)


def _command() -> str:
    """What was typed, with names in place of paths, which are this machine's own matter."""
    words = [Path(word).name if "/" in word else word for word in sys.argv[1:]]
    return " ".join(["python", f"bench/{Path(sys.argv[0]).name}", *words])


def _plain(value: Any) -> Any:
    if isinstance(value, Timing):
        return asdict(value)
    raise TypeError(f"result: expected what JSON can hold, got {type(value).__name__}")
