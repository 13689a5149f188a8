"""S3Connections: the two clients of a bucket, opened on first use and anew in each process.

obstore's threads do not survive a fork, so only the first process that uses S3 has its client. botocore's are
fit for any process; it also finds the credentials, for both. Called by client.py.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import botocore.session
import obstore
from botocore import UNSIGNED
from botocore.config import Config
from botocore.loaders import create_loader

from valuestore.errors import CredentialsRejected
from valuestore.lazy import PerProcess, renew_after_fork
from valuestore.stores.s3.address import S3Address
from valuestore.stores.s3.failure import FAILURES, typed

# --- quiet: a block whose requests botocore does not log; at DEBUG its logs hold session tokens and bodies.


_LOGGERS = ("botocore.auth", "botocore.endpoint", "botocore.parsers", "botocore.httpsession")

_here = threading.local()


class quiet:  # noqa: N801 - used as a statement; a class costs a third of a generator
    """Within it, this thread logs nothing of requests. What other users of botocore log is left alone."""

    def __enter__(self) -> None:
        _here.depth = getattr(_here, "depth", 0) + 1

    def __exit__(self, *_: object) -> None:
        _here.depth -= 1


def _is_loud(record: logging.LogRecord) -> bool:  # noqa: ARG001 - the signature of a filter
    return not getattr(_here, "depth", 0)


for _name in _LOGGERS:
    logging.getLogger(_name).addFilter(_is_loud)


ATTEMPTS = 2
DEFAULT_REGION = "us-east-1"

_TRANSFER_SECONDS = 24 * 3600
"""However slowly the bytes of one answer come, after this it counts as broken."""
_CREDENTIAL_SECONDS = 9 * 60
"""botocore renews credentials ten minutes before they expire."""

_models = create_loader()
"""What botocore knows of S3, which takes longer to read than all else that a client needs."""

_native_is_here = False
_native_is_above = False
"""Whether obstore was used in this process, or before a fork that it came from: its threads are not here."""


@renew_after_fork
def _leave_native() -> None:
    global _native_is_above
    _native_is_above = _native_is_above or _native_is_here


@dataclass(frozen=True, slots=True)
class _Connection:
    client: Any
    native: Any | None


class S3Connections:
    """The clients of an address; each tries twice, for ``attempt_seconds`` each time.

    ``at_once`` is how many requests botocore may make at a time. Raises: CredentialsRejected where there are
    none; StoreUnavailable.
    """

    def __init__(self, address: S3Address, attempt_seconds: float, at_once: int) -> None:
        self._address = address
        self._attempt_seconds = attempt_seconds
        self._at_once = at_once
        self._connection = PerProcess(self._open)

    @property
    def boto(self) -> Any:
        """The client of botocore."""
        return self._connection.get().client

    @property
    def native(self) -> Any | None:
        """The client of obstore; None in a process that cannot have it."""
        return self._connection.get().native

    def close(self) -> None:
        connection = self._connection.take()
        if connection is not None:
            connection.client.close()

    def _open(self) -> _Connection:
        try:
            session, client = self._open_boto()
            provider = None if self._address.options.get("anonymous") else self._provider(session)
        except FAILURES as error:
            raise typed(error, self._address.url, self._address.bucket, writing=False) from None
        if _native_is_above:
            return _Connection(client, None)
        global _native_is_here
        _native_is_here = True
        return _Connection(client, self._open_native(client, provider))

    def _open_boto(self) -> tuple[Any, Any]:
        address, options = self._address, self._address.options
        session = botocore.session.Session(profile=options.get("profile"))
        session.register_component("data_loader", _models)
        if address.credentials is not None:
            session.set_credentials(*address.credentials)
        config = Config(
            signature_version=UNSIGNED if options.get("anonymous") else "s3v4",
            s3={"addressing_style": "path" if address.is_path_style else "virtual"},
            connect_timeout=self._attempt_seconds,
            read_timeout=self._attempt_seconds,
            retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
            max_pool_connections=self._at_once,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        region = options.get("region") or session.get_config_variable("region") or DEFAULT_REGION
        return session, session.create_client(
            "s3", region_name=region, endpoint_url=options.get("endpoint_url"), config=config
        )

    def _provider(self, session: Any) -> Callable[[], dict[str, Any]]:
        credentials = session.get_credentials()
        if credentials is None:
            raise CredentialsRejected(self._address.url, "there are none in the usual places")

        def provide() -> dict[str, Any]:
            with quiet():  # here another thread asks
                frozen = credentials.get_frozen_credentials()
            return {
                "access_key_id": frozen.access_key,
                "secret_access_key": frozen.secret_key,
                "token": frozen.token,
                "expires_at": datetime.now(UTC) + timedelta(seconds=_CREDENTIAL_SECONDS),
            }

        return provide

    def _open_native(self, client: Any, provider: Any) -> Any:
        address = self._address
        endpoint, seconds = client.meta.endpoint_url, timedelta(seconds=self._attempt_seconds)
        if not address.is_path_style:
            scheme, _, host = endpoint.partition("://")
            endpoint = f"{scheme}://{address.bucket}.{host}"
        return obstore.store.S3Store(
            address.bucket,
            config={
                "endpoint": endpoint,
                "region": client.meta.region_name,
                "virtual_hosted_style_request": not address.is_path_style,
                "skip_signature": provider is None,
            },
            client_options={
                "allow_http": endpoint.startswith("http://"),
                "connect_timeout": seconds,
                "read_timeout": seconds,
                "timeout": timedelta(seconds=_TRANSFER_SECONDS),
            },
            retry_config={"max_retries": ATTEMPTS - 1, "retry_timeout": seconds},
            credential_provider=provider,
        )
