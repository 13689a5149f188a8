"""Run the identity tests on every Python from 3.11 up that this machine has: ``make identity``.

Each gets a virtual environment of its own below ``.venv-identity``, made with uv. Exits with 1 if a test
fails, if an environment cannot be made, or if there is no such Python at all. With ``--list`` it prints where
they are, oldest version first, and runs nothing: CI takes the first and the last.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = ROOT / ".venv-identity"
NEEDED = ("attrs", "hypothesis", "msgspec", "pydantic", "pytest", "pytest-timeout")
TESTS = (
    "identity/test_identity.py",
    "test_families.py",
    "identity/test_bad_input.py",
    "code/test_callables.py",
    "test_payloads.py",
)


def pythons() -> dict[tuple[int, int], str]:
    """By version, the first interpreter that starts: on the path, then those of pyenv."""
    names = [f"python3.{minor}" for minor in range(11, 20)]
    places = [found for name in names if (found := shutil.which(name))]
    places += map(str, sorted(Path.home().glob(".pyenv/versions/3.*/bin/python")))
    found: dict[tuple[int, int], str] = {}
    for place in (sys.executable, *places):
        asked = subprocess.run([place, "--version"], capture_output=True, text=True, check=False)
        version = re.match(r"Python (\d+)\.(\d+)", asked.stdout)
        if asked.returncode == 0 and version and (key := (int(version[1]), int(version[2]))) >= (3, 11):
            found.setdefault(key, place)
    return dict(sorted(found.items()))


def run_on(python: str, name: str) -> str:
    """What became of it."""
    environment = ENVIRONMENTS / name
    uv = str(Path(sys.executable).with_name("uv"))
    inner = str(environment / "bin" / "python")
    steps = [
        [uv, "venv", "--quiet", "--allow-existing", "--python", python, str(environment)],
        [uv, "pip", "install", "--quiet", "--python", inner, "--editable", str(ROOT), *NEEDED],
        [
            inner,
            "-m",
            "pytest",
            "-q",
            "--confcutdir=tests/values",
            "-W",
            "default",
            *(f"tests/values/{test}" for test in TESTS),
        ],
    ]
    for step, outcome in zip(steps, ("no environment", "no packages", "FAILED"), strict=True):
        if subprocess.run(step, cwd=ROOT, check=False).returncode:
            return outcome
    return "passed"


def main() -> int:
    found, outcomes = pythons(), {}
    if "--list" in sys.argv:
        print(*found.values(), sep="\n")
        return 0 if found else 1
    for version, python in found.items():
        name = ".".join(map(str, version))
        print(f"--- Python {name}: {python}", flush=True)
        outcomes[name] = run_on(python, name)
    for name, outcome in outcomes.items():
        print(f"Python {name}: {outcome}")
    if not outcomes:
        print("no Python from 3.11 up was found")
    return 0 if outcomes and set(outcomes.values()) == {"passed"} else 1


if __name__ == "__main__":
    sys.exit(main())
