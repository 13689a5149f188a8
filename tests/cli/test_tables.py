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


def test_ids_are_whole_at_80_columns_and_the_widest_of_the_others_gives_way(monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")
    columns = ["id", "started (UTC)", "status", "executed", "cached", "failed", "seconds", "label"]
    label = "pipe.squares(count=3, scale=1.0)"
    print_table(columns, [("01a1fa067fbb744c", "2026-01-31 12:00:59", "interrupted", 1, 2, 3, "0.25", label)])
    _, line = capsys.readouterr().out.splitlines()
    assert "01a1fa067fbb744c 2026-01-31 12:00 interrupted" in line
    assert "pipe.s" in line
    assert line.endswith("…")
    assert len(line) <= 80


def test_ids_are_whole_whatever_does_not_fit(monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")
    print_table(["a", "b", "c"], [("f" * 64, "0" * 64, "text " * 9)])
    assert capsys.readouterr().out.splitlines()[1] == f"{'f' * 64} {'0' * 64} tex…"
