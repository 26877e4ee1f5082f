"""Without the package minari a data set is one message that says what to install."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ibrl_fast.data import DemonstrationError, read_demonstrations


def test_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("minari.")] + ["minari"]:
        monkeypatch.setitem(sys.modules, name, None)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "metadata.json").write_text("{}")
    with pytest.raises(DemonstrationError) as error:
        read_demonstrations(tmp_path)
    message = str(error.value)
    assert message.startswith(f"{tmp_path}: expected the package minari, got: ")
    assert message.endswith("; pip install 'ibrl_fast[minari]'") and "\n" not in message
