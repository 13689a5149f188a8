"""Projects of more modules than any cache of syntax has room for."""

from __future__ import annotations

SCRIPT = """
import ast, importlib, sys
from valuestore import Scheduler, task

for number in range(300):
    with open(f"part{number}.py", "w") as file:
        file.write(f"NUMBER = {number}\\n")
    importlib.import_module(f"part{number}")

@task
def first(n: int) -> int:
    return n + 1

@task
def second(n: int) -> int:
    return n + 2

parse, parsed = ast.parse, []
ast.parse = lambda text, *more, **options: parsed.append(text) or parse(text, *more, **options)
with Scheduler(":memory:") as scheduler:
    assert scheduler.run(first(1)) == 2
    assert len(parsed) >= 300
    parsed.clear()
    assert scheduler.run(second(1)) == 3
print(len(parsed))
"""


def test_each_is_read_once(tmp_path, scripts):
    (tmp_path / "script.py").write_text(SCRIPT)
    ran = scripts.run(tmp_path / "script.py")
    assert ran.code == 0, ran.err
    assert int(ran.out.split()[-1]) < 50
