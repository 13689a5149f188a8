"""CachedTable: reads are right whatever becomes of the table, and no more work is done than has to be."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from math import inf

import pytest

from tests.tables.things import SOON, Things, at, ids, texts
from valuestore.errors import NotFound
from valuestore.tables import CachedTable, Interval, MemoryTable, Moved


@pytest.fixture
def source():
    return Things(*range(10))


@pytest.fixture
def told():
    return []


@pytest.fixture
def cache(table, source, told):
    """Nothing is loaded yet."""

    def tell(event):
        if event.phase == "end":
            told.append(event.operation)

    return CachedTable(table, source, observers=[tell], wait_seconds=SOON)


@pytest.fixture
def loaded(cache, source):
    """All of it is loaded."""
    cache.load("x", Interval())
    source.asked.clear()
    return cache


@pytest.fixture
def pool():
    with ThreadPoolExecutor(50) as pool:
        yield pool


def state(table):
    """All that is to stay when something fails."""
    return list(table.find("id", Interval())), table.known()[1]


# --- loading ----------------------------------------------------------------------------------------------


def test_reads_wait_until_something_is_loaded(cache, pool, source):
    reads = [pool.submit(lambda: ids(cache.find("x", Interval(2, 4)))) for _ in range(3)]
    assert not cache.loaded(0.05)
    assert not any(read.done() for read in reads)
    assert cache.load("x", Interval(0, 5)) == Moved(0, 5)
    assert [read.result(SOON) for read in reads] == [[2, 3]] * 3
    assert cache.loaded(0)
    assert cache.loaded()
    assert source.asked == [("x", [(0, 5)])]


def test_who_has_waited_reads_the_source(table, source):
    cache = CachedTable(table, source, wait_seconds=0.05)
    assert ids(cache.find("x", Interval(2, 4), reverse=True)) == [3, 2]
    assert ids(cache.find("x", Interval(2, 4))) == [2, 3]
    assert not cache.loaded(0)


def test_a_load_takes_the_place_of_what_the_table_held(cache, table, source):
    table.put_many([{"id": 90 + each, "x": each, "y": 0, "text": "old"} for each in range(3)])
    assert cache.load("x", Interval(0, 2), Interval.at(7)) == Moved(3, 3)
    assert ids(table.find("id", Interval())) == [0, 1, 7]


def test_it_is_loaded_once_whoever_did_it(loaded, table, source):
    for cache in (loaded, CachedTable(table, source)):
        with pytest.raises(ValueError, match="adjust"):
            cache.load("x", Interval())
    assert source.asked == []


def test_rows_that_the_source_gives_beside_those_asked_for_are_left_out(table, source):
    cache = CachedTable(table, lambda _index, _intervals: list(source("x", [Interval()])) * 2)
    assert cache.load("x", Interval(3, 5)) == Moved(0, 2)
    assert ids(cache.find("x", Interval(5, 7))) == [5, 6]
    assert cache.adjust("x", Interval(3, 6)) == Moved(0, 1)
    assert ids(table.find("x", Interval())) == [3, 4, 5]


# --- reading ----------------------------------------------------------------------------------------------


def test_what_is_covered_comes_from_the_table_and_the_rest_from_the_source(cache, table, source, told):
    cache.load("x", Interval(0, 5))
    source.asked.clear()
    source.change(3, "new")
    source.change(7, "new")
    assert texts(cache.find("x", Interval(3, 5))) == ["", ""]
    assert list(cache.find("x")) == []
    assert source.asked == []
    assert texts(cache.find("x", Interval(3, 8))) == ["new", "", "", "", "new"]
    assert ids(cache.find("y", Interval(-3, -1))) == [3, 2]
    assert ids(cache.find("x", Interval(6), Interval(1, 3), where=lambda row: row["id"] != 7, limit=3)) == [
        1,
        2,
        6,
    ]
    assert table.count("x", Interval()) == 5
    assert told == ["table_hit", "table_hit", *["table_miss"] * 3]


def test_covers(cache):
    cache.load("x", Interval(0, 5), Interval(5, 7), Interval(9))
    assert cache.covers("x", Interval(2, 6))
    assert cache.covers("x", Interval(0, 1), Interval.at(inf))
    assert not cache.covers("x", Interval(6, 8))
    assert not cache.covers("y", Interval(2, 3))
    cache.adjust("x", Interval())
    assert cache.covers("y", Interval())


def test_first(loaded):
    assert loaded.first("x", Interval(4), where=lambda row: row["id"] % 2)["id"] == 5
    with pytest.raises(NotFound):
        loaded.first("x", Interval(50))


def test_bad_questions_are_value_errors(loaded):
    for ask in (loaded.find, loaded.load, loaded.adjust, loaded.covers):
        for bad in (("no", Interval()), ("x", Interval(), Interval(1, 2)), ("x", 1)):
            with pytest.raises(ValueError):
                ask(*bad)
    with pytest.raises(ValueError):
        loaded.find("x", Interval(), limit=-1)


# --- invalidation -----------------------------------------------------------------------------------------


def test_the_next_read_that_meets_what_is_invalid_refreshes_it_once(loaded, source, told):
    source.change(3, "new")
    loaded.invalidate({"x": at(3), "id": at(3)})
    assert texts(loaded.find("x", Interval(4))) == [""] * 6
    assert texts(loaded.find("id", Interval(0, 3))) == [""] * 3
    assert source.asked == []
    assert texts(loaded.find("id", Interval(2, 5))) == ["", "new", ""]
    assert texts(loaded.find("x", Interval(2, 5))) == ["", "new", ""]
    assert source.asked == [("x", [(3, 4)])]
    assert told == ["table_hit"] * 2 + ["table_refresh"] + ["table_hit"] * 2


def test_an_index_that_is_not_named_is_suspect_wholly(loaded, source):
    source.change(3, "new")
    loaded.invalidate({"x": at(3)})
    assert ids(loaded.find("y", Interval(5))) == []
    assert source.asked == [("x", [(3, 4)])]


def test_a_row_that_moved_is_found_where_it_is(loaded, source):
    source.change(3, "moved", x=30)
    loaded.invalidate({"x": at(3), "id": at(3)}, {"x": at(30), "id": at(3)})
    assert ids(loaded.find("x", Interval(29))) == [3]
    assert ids(loaded.find("x", Interval(2, 5))) == [2, 4]
    assert texts(loaded.find("id", *at(3))) == ["moved"]
    source.change(3, "back")
    loaded.invalidate({"x": at(30)}, {"y": at(-3)})
    assert ids(loaded.find("x", Interval(2, 5))) == [2, 3, 4]
    assert source.asked[-1] == ("x", [(-inf, inf)])


def test_rows_that_are_gone_and_new_ones(loaded, source):
    del source.rows[3]
    source.change(50, "new")
    loaded.invalidate({"x": at(3)}, {"x": []})
    loaded.invalidate({"x": []}, {"x": at(50)})
    assert ids(loaded.find("x", Interval(2))) == [2, 4, 5, 6, 7, 8, 9, 50]


def test_without_refresh_on_read_rows_are_old_until_refresh(loaded, source, told):
    assert loaded.refresh() == Moved(0, 0)
    source.change(3, "new")
    loaded.invalidate({"x": [Interval(2, 5)]}, refresh_on_read=False)
    assert texts(loaded.find("x", *at(3))) == [""]
    assert source.asked == []
    assert loaded.refresh() == Moved(3, 3)
    assert texts(loaded.find("x", *at(3))) == ["new"]
    assert loaded.refresh() == Moved(0, 0)
    assert told.count("table_refresh") == 1


@pytest.mark.parametrize(
    "named",
    [
        ({},),
        ({"x": []},),
        ({"x": at(1)}, {}),
        ({"no": at(1)},),
        ({"x": [Interval(0, 2), Interval(1, 3)]},),
        ({"x": at(1, 1)},),
        ({"x": at(9)},),
        ({"x": at(1)}, {"x": at(9)}),
        ({"y": at(-1)},),
    ],
)
def test_invalidations_that_say_nothing_are_value_errors(cache, table, source, named):
    with pytest.raises(ValueError):
        cache.invalidate({"x": at(1)})
    cache.load("x", Interval(0, 5))
    before = state(table)
    with pytest.raises(ValueError):
        cache.invalidate(*named)
    assert state(table) == before


def test_an_invalidation_during_a_refresh_is_not_lost(loaded, source, pool):
    source.change(3, "newer")
    loaded.invalidate({"x": at(3)})
    source.gate.clear()
    source.at_gate.clear()
    read = pool.submit(lambda: texts(loaded.find("x", *at(3))))
    assert source.at_gate.wait(SOON)
    source.change(3, "newest")
    loaded.invalidate({"x": at(3)})
    source.gate.set()
    assert read.result(SOON) == ["newest"]
    assert source.asked == [("x", [(3, 4)])] * 2


def test_fifty_threads_make_one_read_of_the_source(loaded, source, pool):
    source.change(3, "new")
    loaded.invalidate({"x": at(3), "id": at(3)})
    source.gate.clear()
    source.at_gate.clear()
    barrier = threading.Barrier(50)

    def read(number):
        barrier.wait(SOON)
        return texts(loaded.find("x", *at(3)))

    reads = [pool.submit(read, number) for number in range(49)]
    barrier.wait(SOON)
    assert source.at_gate.wait(SOON)
    assert texts(loaded.find("id", Interval(4))) == [""] * 6  # which is valid, and does not wait
    source.gate.set()
    assert [each.result(SOON) for each in reads] == [["new"]] * 49
    assert source.asked == [("x", [(3, 4)])]


# --- adjusting --------------------------------------------------------------------------------------------


def test_adjusting_drops_what_is_not_covered_and_reads_what_is_missing(cache, table, source, told):
    cache.load("x", Interval(0, 5))
    seen = []
    moved = cache.adjust("x", Interval(3, 8), observe=lambda what, row: seen.append((what, row["id"])))
    assert moved == Moved(3, 3)
    assert sorted(seen) == [
        ("expired", 0),
        ("expired", 1),
        ("expired", 2),
        *(("loaded", each) for each in (5, 6, 7)),
    ]
    assert source.asked[1:] == [("x", [(5, 8)])]
    assert ids(table.find("x", Interval())) == [3, 4, 5, 6, 7]
    assert ids(cache.find("x", Interval(3, 8))) == [3, 4, 5, 6, 7]
    assert cache.adjust("x", Interval(3, 8)) == Moved(0, 0)
    assert told == ["table_adjust", "table_hit", "table_adjust"]
    assert len(source.asked) == 2


def test_adjusting_to_another_index(cache, table, source):
    cache.load("x", Interval(0, 5))
    assert cache.adjust("y", Interval(-7, -2)) == Moved(5, 5)
    assert ids(cache.find("y", Interval(-7, -2))) == [7, 6, 5, 4, 3]
    assert cache.adjust("y", Interval()) == Moved(0, 5)
    assert cache.adjust("x", Interval(2)) == Moved(2, 0)
    assert not cache.covers("y", Interval.at(-3))


def test_adjusting_reads_what_was_invalidated(cache, source):
    cache.load("x", Interval(0, 5))
    source.change(3, "new")
    cache.invalidate({"x": at(3)})
    assert cache.adjust("x", Interval(2, 6)) == Moved(3, 2)
    assert source.asked[-1] == ("x", [(3, 4), (5, 6)])
    assert texts(cache.find("x", Interval(2, 6))) == ["", "new", "", ""]
    assert len(source.asked) == 2


def test_adjusting_waits_for_a_load_and_reads_stay_as_they_were_meanwhile(cache, source, pool):
    adjusted = pool.submit(cache.adjust, "x", Interval(3, 8))
    assert not cache.loaded(0.05)
    cache.load("x", Interval(0, 5))
    assert adjusted.result(SOON) == Moved(3, 3)
    source.gate.clear()
    source.at_gate.clear()
    adjusted = pool.submit(cache.adjust, "x", Interval(0, 4))
    assert source.at_gate.wait(SOON)
    assert ids(cache.find("x", Interval(3, 8))) == [3, 4, 5, 6, 7]
    cache.invalidate({"x": at(3)})
    source.change(3, "new")
    source.gate.set()
    assert adjusted.result(SOON) == Moved(4, 3)
    assert texts(cache.find("x", Interval(0, 4))) == ["", "", "", "new"]


def test_adjusting_what_nobody_loaded_is_a_value_error(table, source):
    with pytest.raises(ValueError, match="load"):
        CachedTable(table, source, wait_seconds=0).adjust("x", Interval())


# --- failure ----------------------------------------------------------------------------------------------


class _Broken(Exception):
    pass


def test_a_source_that_fails_leaves_everything_as_it_was(cache, table, source):
    table.put({"id": 99, "x": 99, "y": 0, "text": "old"})
    tries = [
        lambda: cache.load("x", Interval(0, 5)),
        lambda: cache.adjust("x", Interval(2, 9)),
        lambda: list(cache.find("x", *at(2))),
        lambda: list(cache.find("x", Interval(50))),
    ]
    for place, move in enumerate(tries):
        if place == 2:
            source.change(2, "new")
            cache.invalidate({"x": at(2)})
        before = state(table)
        for _ in range(2):
            source.fails = _Broken()
            with pytest.raises(_Broken):
                move()
            assert state(table) == before
            assert table.lease("somebody's", 1)
            assert table.lease("somebody's", 0)
        source.fails = None
        move()
    assert texts(cache.find("x", Interval(2, 9))) == ["new", *[""] * 6]
    assert ids(table.find("x", Interval())) == [2, 3, 4, 5, 6, 7, 8]


def test_rows_of_the_source_that_cannot_be_kept_leave_everything_as_it_was(loaded, table, source):
    before = state(table)
    source.rows[3]["text"] = 3
    loaded.invalidate({"x": at(3)})
    with pytest.raises(ValueError, match="text"):
        loaded.find("x", *at(3))
    assert state(table)[0] == before[0]


def test_what_is_cleared_is_read_from_the_source_at_once(loaded, table, source, told):
    loaded.find("x", Interval())
    table.clear()
    source.change(3, "new")
    assert texts(loaded.find("x", *at(3))) == ["new"]
    assert not loaded.loaded(0)
    assert loaded.load("x", Interval(0, 5)) == Moved(0, 5)
    assert texts(loaded.find("x", Interval(2, 5))) == ["", "new", ""]
    assert told == ["table_hit", "table_miss", "table_hit"]


def test_what_is_cleared_during_a_refresh_is_not_covered(loaded, table, source, pool):
    loaded.invalidate({"x": at(3)})
    source.gate.clear()
    source.at_gate.clear()
    read = pool.submit(lambda: ids(loaded.find("x", Interval(2, 5))))
    assert source.at_gate.wait(SOON)
    table.clear()
    source.gate.set()
    assert read.result(SOON) == [2, 3, 4]
    assert not loaded.loaded(0)
    assert list(table.find("x", Interval())) == []
    assert loaded.load("x", Interval()) == Moved(0, 10)


def test_who_cannot_hold_the_lease_reads_the_source(table, source):
    cache = CachedTable(table, source, wait_seconds=0.05)
    cache.load("x", Interval())
    source.change(3, "new")
    cache.invalidate({"x": at(3), "id": at(3)})
    assert table.lease("somebody's", SOON)
    assert texts(cache.find("x", *at(3))) == ["new"]
    assert texts(cache.find("x", *at(4))) == [""]
    for move in (cache.refresh, lambda: cache.adjust("x", Interval(3))):
        with pytest.raises(ConnectionError, match="try again"):
            move()
    table.lease("somebody's", 0)
    assert cache.refresh() == Moved(1, 1)


def test_who_lost_the_lease_changes_nothing(cache, table, source, pool):
    cache.load("x", Interval(0, 5))
    before = state(table)
    source.gate.clear()
    source.at_gate.clear()
    adjusted = pool.submit(cache.adjust, "x", Interval(0, 9))
    assert source.at_gate.wait(SOON)
    if isinstance(table, MemoryTable):
        table._lease = "somebody's"
    else:
        table._server.do("", "SET", table._keys[3], "somebody's")
    source.gate.set()
    with pytest.raises(ConnectionError, match="took over"):
        adjusted.result(SOON)
    assert state(table) == before
    assert table.lease("somebody's", 0)
    assert cache.adjust("x", Interval(0, 9)) == Moved(0, 4)


def test_of_very_many_invalidations_everything_is_suspect(loaded, table, source):
    for number in range(300):
        loaded.invalidate({"id": at(number % 2)}, refresh_on_read=False)
    assert len(table.known()[1]) < 20_000
    source.change(1, "new")
    loaded.invalidate({"id": at(1)})
    assert texts(loaded.find("id", *at(1))) == ["new"]
    assert loaded.refresh() == Moved(0, 0)
