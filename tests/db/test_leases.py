"""Leases: they hold until they run out, and a holder hears when that was."""

from __future__ import annotations

import time

import pytest

from valuestore.db import migrate
from valuestore.db.leases import Leases


@pytest.fixture
def leases(database):
    migrate.ensure(database, {})
    return Leases(database)


def test_lease_is_held_until_it_ends(leases):
    lease_id = leases.take("write", 60)
    [row] = leases.held("write")
    assert row.lease_id == lease_id
    assert 59e6 < row.expires - row.started <= 60e6
    assert leases.held("collect") == []
    leases.end(lease_id)
    leases.end(lease_id)
    assert leases.held() == []


def test_lease_that_ran_out_is_not_renewed(leases):
    lease_id = leases.take("write", 0.05)
    assert leases.renew(lease_id, 0.05)
    time.sleep(0.1)
    assert leases.held() == []
    assert not leases.renew(lease_id, 60)
    assert leases.sweep() == 1
    assert leases.sweep() == 0


def test_owner_may_be_any_text(leases):
    leases.take("write", 60, owner="'; DROP TABLE lease; -- \0 \ud800")
    assert leases.held()[0].owner.startswith("'; DROP TABLE lease; -- \\x00")
