"""The census with its payloads elsewhere, by settings alone: Redis and S3, each a real server."""

from __future__ import annotations

from pathlib import Path

import pytest

from valuestore.cli.main import invoke
from valuestore.stores import open_store

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tree(tmp_path):
    folder = tmp_path / "tree" / "package"
    folder.mkdir(parents=True)
    for number in range(6):
        (folder / f"module{number}.py").write_text(f"def function{number}():\n    return {number}\n")
    return folder.parent


@pytest.mark.parametrize("place", ["redis_url", "s3_url"])
def test_payloads_live_where_the_settings_say(place, request, tree, tmp_path, monkeypatch, capsys):
    url = request.getfixturevalue(place)
    monkeypatch.setenv("VALUESTORE_INLINE_MAX_BYTES", "0")
    monkeypatch.setenv("VALUESTORE_REPOSITORY", str(tmp_path / "repository"))
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        assert invoke(arguments) == 0
        return capsys.readouterr().err

    run("init", str(tmp_path / "repository"), "--payloads", url)
    census = ["run", str(ROOT / "examples" / "census.py"), "census", "--tree", str(tree)]
    assert " 0 cached" in run(*census)
    assert " 0 executed" in run(*census)
    with open_store(url) as store:
        assert len(store.list().keys) > 6
    assert not (tmp_path / "repository" / ".valuestore" / "payloads").exists()
