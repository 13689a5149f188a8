"""S3Connections: the two clients of a bucket, opened on first use and anew in each process.

obstore's threads do not survive a fork, so only the first process that uses S3 has its client. botocore's are
fit for any process; it also finds the credentials, for both. Called by client.py.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import botocore.session
import obstore
from botocore import UNSIGNED
from botocore.config import Config
from botocore.configprovider import ConfiguredEndpointProvider
from botocore.loaders import create_loader

from valuestore.config import clients_are_told
from valuestore.errors import BadReference, ConfigError, CredentialsRejected
from valuestore.lazy import PerProcess, renew_after_fork
from valuestore.stores.s3.address import S3Address, check_endpoint

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

_TOLD_TO_NATIVE_ALONE = re.compile(
    "AWS_(?:CHECKSUM_A|COPY_IF|DEFAULT_[CH]|DISABLE_[BT]|HTTP|POOL_|PROXY_|RANDOM|SERVER_SIDE|SSE_|USER_AG).*"
)
"""Variables that obstore alone reads, and no argument overrules: with one of them, botocore does all."""

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

    ``at_once`` is how many requests botocore may make at a time. What opens them raises what botocore does,
    BadReference for an endpoint of the usual places, and CredentialsRejected where there are none.
    """

    def __init__(self, address: S3Address, attempt_seconds: float, at_once: int) -> None:
        self._address = address
        self._attempt_seconds = attempt_seconds
        self._at_once = at_once
        self._connection = PerProcess(self._open)

    @property
    def boto(self) -> Any:
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
        global _native_is_here
        session = botocore.session.Session(profile=self._address.options.get("profile"))
        session.register_component("data_loader", _models)
        provider = None if self._address.options.get("anonymous") else self._provider(session)
        client = self._open_boto(session)
        told = clients_are_told(_TOLD_TO_NATIVE_ALONE)
        is_express = self._address.bucket.endswith("--x-s3")  # which has sessions of its own
        if _native_is_above or told or is_express:
            return _Connection(client, None)
        _native_is_here = True
        return _Connection(client, self._open_native(session, client, provider))

    def _open_boto(self, session: Any) -> Any:
        address, options = self._address, self._address.options
        try:
            endpoint = options.get("endpoint_url") or _configured_endpoint(session)
        except ConfigError as error:
            raise BadReference(address.url, str(error)) from None
        style = options.get("addressing_style")
        style = style or (session.get_config_variable("s3") or {}).get("addressing_style", "auto")
        in_path = style == "path" or (style == "auto" and (endpoint or "." in address.bucket))
        config = Config(
            signature_version=UNSIGNED if options.get("anonymous") else "s3v4",
            s3={"addressing_style": "path" if in_path else "virtual"},
            connect_timeout=self._attempt_seconds,
            read_timeout=self._attempt_seconds,
            retries={"total_max_attempts": ATTEMPTS, "mode": "standard"},
            max_pool_connections=self._at_once,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        region = (options.get("region") or session.get_config_variable("region") or DEFAULT_REGION).strip()
        return session.create_client("s3", region, endpoint_url=endpoint or None, config=config)

    def _provider(self, session: Any) -> Callable[[], dict[str, Any]]:
        if self._address.credentials is not None:
            session.set_credentials(*self._address.credentials)
        elif (found := session.get_credentials()) is not None:
            given = found.get_frozen_credentials()
            stripped = [text and text.strip() for text in given[:3]]
            if stripped != list(given[:3]):
                session.set_credentials(*stripped)
        credentials = session.get_credentials()
        if credentials is None:
            raise CredentialsRejected(self._address.url, "there are none in the usual places")
        if not all(text.isprintable() for text in credentials.get_frozen_credentials()[:3] if text):
            raise CredentialsRejected(self._address.url, "a control character is in them")

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

    def _open_native(self, session: Any, client: Any, provider: Any) -> Any:
        """obstore's client, told what botocore goes by, so that nothing is left for it to find by itself."""
        bucket, seconds = self._address.bucket, timedelta(seconds=self._attempt_seconds)
        asked = urlsplit(client.generate_presigned_url("head_bucket", Params={"Bucket": bucket}))
        path = asked.path.rstrip("/")
        in_path = path.endswith(f"/{bucket}")
        endpoint = f"{asked.scheme}://{asked.netloc}{path.removesuffix(f'/{bucket}') if in_path else path}"
        authorities = session.get_config_variable("ca_bundle") if asked.scheme == "https" else None
        options: Any = {"root_certificate": Path(authorities).read_bytes()} if authorities else {}
        return obstore.store.S3Store(
            bucket,
            config={
                "endpoint": endpoint,
                "aws_endpoint_url_s3": endpoint,
                "region": client.meta.region_name,
                "virtual_hosted_style_request": not in_path,
                "skip_signature": provider is None,
                "s3_express": False,
                "unsigned_payload": False,
                "request_payer": False,
                "conditional_put": "etag",
            },
            client_options=options
            | {
                "allow_http": asked.scheme == "http",
                "allow_invalid_certificates": False,
                "connect_timeout": seconds,
                "read_timeout": seconds,
                "timeout": timedelta(seconds=_TRANSFER_SECONDS),
            },
            retry_config={"max_retries": ATTEMPTS - 1, "retry_timeout": seconds},
            credential_provider=provider,
        )


def _configured_endpoint(session: Any) -> str | None:
    """The endpoint that the environment or a profile names, looked at before a client trips over it."""
    if session.get_config_variable("ignore_configured_endpoint_urls"):
        return None
    places = ConfiguredEndpointProvider(session.full_config, session.get_scoped_config(), "s3")
    found = places.provide()
    return check_endpoint(found, "AWS_ENDPOINT_URL or endpoint_url of the profile") if found else None
