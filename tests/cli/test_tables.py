"""Tables on a terminal."""

from __future__ import annotations

import sys

from valuestore.cli.terminal import print_table


def test_long_previews_leave_ids_whole_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")
    rows = [("01a1fa067fbb744c", "done", "pipe.load", "x" * 400)] * 3
    print_table(["id", "status", "task", "result"], rows)
    header, *lines = capsys.readouterr().out.splitlines()
    assert header.split() == ["id", "status", "task", "result"]
    assert [line.split()[:3] for line in lines] == [["01a1fa067fbb744c", "done", "pipe.load"]] * 3
    assert max(map(len, lines)) <= 80
