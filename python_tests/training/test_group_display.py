"""The view of several runs: what a run in another process sends, and plain lines off a terminal."""

from __future__ import annotations

from typing import Any

import pytest

from ibrl_fast.training.group.display import GroupDisplay, RemoteDisplay


def test_a_run_elsewhere_sends_its_lines_and_some_of_its_steps() -> None:
    sent: list[dict[str, Any]] = []
    with RemoteDisplay(sent.append) as display:
        display.say("[begins]")
        with display.bar("training", 1000) as show:
            for done in range(1001):
                show(done)
    assert sent[0] == {"say": "[begins]"}
    bars = sent[1:]
    assert bars[0] == {"bar": "training", "done": 0, "total": 1000}
    assert bars[-1] == {"bar": "training", "done": 1000, "total": 1000}
    assert [bar["done"] for bar in bars] == sorted({bar["done"] for bar in bars})


def test_off_a_terminal_every_line_names_its_run(capsys: pytest.CaptureFixture[str]) -> None:
    with GroupDisplay(["a", "[b]c"]) as display:
        display.show("a", "training", 5, 10)
        display.say("a", "[red] line")
        display.say("[b]c", "another")
    assert capsys.readouterr().out == "a     [red] line\n[b]c  another\n"
    with GroupDisplay(["a"], quiet=True) as display:
        display.say("a", "nothing")
    assert capsys.readouterr().out == ""
