"""S3Address: which bucket, prefix and endpoint a URL means, and what else it says.

::

    s3://bucket[/prefix][?options]

Prefix and options are percent-decoded. The options are those of ``OPTIONS``; whatever is left out comes from
the usual places: environment variables, the profile files of AWS, the metadata service of the machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from valuestore.errors import BadKey, BadReference, ConfigError
from valuestore.kinds import FLAG, PATH, POSITIVE, SECONDS, SECRET, TEXT, Kind, one_of
from valuestore.stores.base import check_key

_STYLES = ("path", "virtual", "auto")
OPTIONS: Mapping[str, Kind] = {
    "endpoint_url": SECRET,  # where the server is, if it is not AWS
    "region": TEXT,  # of the bucket
    "addressing_style": one_of(*_STYLES),  # auto is path for an endpoint of one's own
    "profile": TEXT,  # the section of the profile files
    "access_key_id": SECRET,  # instead of the usual places, with the secret
    "secret_access_key": SECRET,
    "secret_key_path": PATH,  # a file with the secret access key in it, which comes before it
    "session_token": SECRET,  # of temporary credentials
    "anonymous": FLAG,  # sign nothing, for public buckets
    "conditional": FLAG,  # whether the server keeps If-None-Match, see S3Store
    "create": FLAG,  # make the bucket if it is missing; false: NotFound if it is; left out: nobody looks
    "timeout_seconds": SECONDS,  # as the next two, see S3Store
    "part_bytes": POSITIVE,
    "concurrency": POSITIVE,
}
"""In a URL they are texts."""
_PLACE = ("endpoint_url", "region", "addressing_style")
_SECRET = ("access_key_id", "secret_access_key", "session_token")
_TRUE, _FALSE = ("true", "yes", "1"), ("false", "no", "0")


@dataclass(frozen=True)
class S3Address:
    """Where an S3Store keeps its keys. Of this, ``credentials`` are fit for the clients alone."""

    bucket: str
    prefix: str
    """Empty, or with a slash at its end."""
    options: Mapping[str, Any]
    """All options but the credentials."""
    credentials: tuple[str, str, str | None] | None = field(repr=False)
    """Key id, secret and token, if they were given; None for those of the usual places."""

    @classmethod
    def read(cls, url: str, given: Mapping[str, Any]) -> S3Address:
        """What the URL means; what is ``given`` beside it, and not None, comes first.

        Raises: BadReference, never with a credential in it; ConfigError for an option's value.
        """
        shown = url.partition("?")[0].rpartition("@")[2]
        try:
            parts = urlsplit(url)
            bucket = parts.netloc
        except ValueError:
            raise BadReference("s3://...", "it does not parse") from None
        if parts.scheme.lower() != "s3" or not bucket or parts.fragment:
            raise BadReference(shown, "an S3 store's URL is s3://bucket/prefix?options; write '#' as %23")
        if "@" in bucket or ":" in bucket:
            problem = "credentials are options, or in the environment; they do not precede the bucket"
            raise BadReference("s3://...", problem)
        options: dict[str, Any] = dict(parse_qsl(parts.query, keep_blank_values=True))
        options |= {name: value for name, value in given.items() if value is not None}
        options = {name: _stripped(name, value) for name, value in options.items()}
        if unknown := options.keys() - OPTIONS:
            problem = f"no option {min(unknown)!r}; there are {', '.join(sorted(OPTIONS))}"
            raise BadReference(shown, problem)
        credentials = _take_credentials(options)
        return cls(bucket, _read_prefix(shown, unquote(parts.path)), _checked(options), credentials)

    @property
    def url(self) -> str:
        """The URL without credentials."""
        place = {name: self.options[name] for name in _PLACE if name in self.options}
        shown = f"s3://{self.bucket}/{quote(self.prefix.removesuffix('/'))}".removesuffix("/")
        return shown + (f"?{urlencode(place)}" if place else "")


def _read_prefix(shown: str, path: str) -> str:
    prefix = path.strip("/")
    try:
        return f"{check_key(prefix)}/" if prefix else ""
    except BadKey as error:
        raise BadReference(shown, f"its prefix is no key: {error.args[1]}") from None


def _take_credentials(options: dict[str, Any]) -> tuple[str, str, str | None] | None:
    """The credentials, which leave the options."""
    path = options.pop("secret_key_path", None)
    key, secret, token = (options.pop(name, None) for name in _SECRET)
    if path is not None:
        try:
            secret = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeError) as error:
            raise ConfigError("secret_key_path", f"cannot read {path!r}: {type(error).__name__}") from error
    if (key is None) != (secret is None):
        raise ConfigError("access_key_id", "goes with a secret: secret_access_key or secret_key_path")
    return None if key is None else (key, str(secret), token)


def _checked(options: dict[str, Any]) -> dict[str, Any]:
    """The options with their types. Raises: ConfigError."""
    if options.get("endpoint_url") is not None:
        options["endpoint_url"] = check_endpoint(options["endpoint_url"])
    if options.get("addressing_style", "auto") not in _STYLES:
        raise ConfigError("addressing_style", f"is one of {', '.join(_STYLES)}")
    for name, kind in OPTIONS.items():
        if name in options and kind is FLAG:
            options[name] = _read_bool(name, options[name])
        elif name in options and kind in (SECONDS, POSITIVE):
            options[name] = _read_number(name, float if kind is SECONDS else int, options[name])
    return options


def _stripped(name: str, value: Any) -> Any:
    """Without the spaces and line ends that came with it from a file or a shell."""
    if not isinstance(value, str):
        return value
    if not (text := value.strip()).isprintable():
        raise ConfigError(name, "holds a control character")  # and may be a secret
    return text


def check_endpoint(url: str, setting: str = "endpoint_url") -> str:
    """The URL of a server, stripped. Raises: ConfigError."""
    parts = urlsplit(url := str(_stripped(setting, url)))
    with suppress(ValueError):
        fits = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        if fits and not (" " in url or "@" in parts.netloc or parts.query or parts.fragment):
            return url
    raise ConfigError(setting, "is http://host:port or https://host:port, nothing more")


def _read_bool(name: str, value: object) -> bool:
    text = str(value).lower()
    if text not in _TRUE + _FALSE:
        raise ConfigError(name, f"is true or false, not {value!r}")
    return text in _TRUE


def _read_number(name: str, kind: type[int] | type[float], value: Any) -> float:
    try:
        number = kind(value)
    except (TypeError, ValueError):
        number = kind(0)
    if not 0 < number < float("inf"):
        raise ConfigError(name, f"is a number above 0, not {value!r}")
    return number
