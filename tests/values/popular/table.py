"""The table of popular packages in docs/values.md. ``python tests/values/popular/table.py`` writes it anew.

It makes an environment of its own and installs the packages there, at their latest versions.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
DOCS = ROOT / "docs" / "values.md"
BEGIN, END = "<!-- popular packages: begin -->\n", "<!-- popular packages: end -->\n"

Row = dict[str, Any]


def packages() -> list[str]:
    sys.path.insert(0, str(HERE))
    try:
        from objects import SPECIMENS  # type: ignore[import-not-found]  # as check.py finds it
    finally:
        sys.path.remove(str(HERE))
    return list(dict.fromkeys(specimen.package for specimen in SPECIMENS))


def rows(python: str, chosen: list[str]) -> list[Row]:
    """What two processes of different hash seeds say, as one: ``stable`` if they agree."""
    one, other = (_rows(python, chosen, seed) for seed in ("1", "2"))
    merged = []
    for row, again in zip(one, other, strict=True):
        stable = row.get("hash") == again.get("hash") and row.get("again") and row.get("use")
        merged.append({**row, "stable": bool(stable)})
    return merged


def _rows(python: str, chosen: list[str], seed: str) -> list[Row]:
    told = subprocess.run(
        [python, str(HERE / "check.py"), *chosen],
        env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return [json.loads(line) for line in told.splitlines()]


def installed(folder: Path) -> str:
    """A Python with the packages, made in that folder."""
    venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(ROOT)]
    subprocess.run([*command, *packages()], check=True)
    return python


def table(found: list[Row]) -> str:
    lines = ["| package | object | identity stable | round trip | codec |", "|---|---|---|---|---|"]
    for row in found:
        package, what = row["package"], row["what"]
        if "refused" in row:
            reason = row["refused"].partition(": ")[2]
            lines.append(f"| {package} | {what} | refused: {reason} | | |")
        else:
            stable, trip = ("yes" if row.get(name) else "no" for name in ("stable", "trip"))
            lines.append(f"| {package} | {what} | {stable} | {trip} | `{row.get('codec')}` |")
    return "\n".join(lines) + "\n"


def in_docs() -> str:
    return DOCS.read_text("utf-8").partition(BEGIN)[2].partition(END)[0]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        made = table(rows(installed(Path(folder)), []))
    before, _, rest = DOCS.read_text("utf-8").partition(BEGIN)
    DOCS.write_text(before + BEGIN + made + END + rest.partition(END)[2], "utf-8")


if __name__ == "__main__":
    main()
