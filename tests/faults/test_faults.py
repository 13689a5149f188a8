"""Every part of the harness, small; ``make faults`` runs them large (docs/reliability.md)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.faults.parts import PARTS

ROOT = Path(__file__).parents[2]
SEED = int(os.environ.get("VALUESTORE_FAULTS_SEED", "16"))
"""The same every day: what fails here is what was changed. ``make faults`` draws others."""
PROGRAM = """
import sys
sys.path.insert(0, {root!r})
from tests.faults.__main__ import main
sys.exit(main([{part!r}, "--quick", "--seed", {seed!r}]))
"""
WITH_SERVERS = {"damage": ("redis_server", "s3_server")}


@pytest.mark.parametrize("part", [name for name, part in PARTS.items() if part.quick])
def test_nothing_is_lost_or_wrong_under(part, tmp_path, scripts, request, monkeypatch):
    for name in WITH_SERVERS.get(part, ()):
        url = request.getfixturevalue(name).url
        monkeypatch.setenv(f"VALUESTORE_TEST_{name.removesuffix('_server').upper()}_URL", url)
    script = tmp_path / "part.py"
    script.write_text(PROGRAM.format(root=str(ROOT), part=part, seed=str(SEED)))
    ended = scripts.run(script)
    print(ended.out)
    assert ended.code == 0, f"python -m tests.faults {part} --quick --seed {SEED}\n{ended.err}{ended.out}"
