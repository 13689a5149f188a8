"""The week of docs/lifecycle.md: each of its commands, in order, with what the page shows of its output."""

from __future__ import annotations

import doctest
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import Cli

PAGE = Path(__file__).parents[3] / "docs" / "lifecycle.md"


def test_the_week_goes_as_the_page_shows_it(cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(here / "config"))
    text = PAGE.read_text("utf-8")
    [pipeline, *_] = re.findall(r"```python\n(.*?)```", text, re.S)
    (here / "pipeline.py").write_text(pipeline)
    commands = [
        step for block in re.findall(r"```console\n(.*?)```", text, re.S) for step in block.split("$ ")[1:]
    ]
    assert len(commands) > 20
    for step in commands:
        command, _, shown = step.partition("\n")
        program, *arguments = shlex.split(command)
        if program == "valuestore":
            outcome = cli(*arguments)
            finds_damage = arguments[0] == "verify" and shown.startswith("damaged")
            assert outcome.code == int(finds_damage), (command, outcome)
            options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
            is_like = doctest.OutputChecker().check_output(shown, outcome.out, options)
            assert is_like, f"{command}\n{outcome.out}\nis not like\n{shown}"
        else:
            subprocess.run(command, shell=True, check=True, cwd=here)
