"""Redaction: secrets out of text before it is kept. The one choke point for what people read later.

Command lines, labels of executions, errors and tracebacks of jobs, and source code pass through here.
Arguments and results do not: they are the pipeline's data, and their bytes are what they are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import urlsplit

HIDDEN = "***"

SECRET_WORDS = (
    r"passw(?:or)?d",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "credentials?",
    "(?:api|access|private|account|secret|session)[_-]?key",
    "signature",
    "authorization",
    "cookie",
)
"""What the names of secrets end with: a ``token``, but not ``max_tokens`` or a ``tokenizer``."""

SECRET = rf"(?:{'|'.join(SECRET_WORDS)})"
names_secret = re.compile(rf"{SECRET}\Z", re.I).search
"""Whether a name is that of a secret."""
suggests_secret = re.compile(rf"{SECRET}|passw|auth|session|jwt|\Akey\Z", re.I).search
"""Whether the name of a parameter in a URL may be that of a secret: these stand anywhere in it."""
may_hold_secret = re.compile(rf"{SECRET}|passw|auth|key|conn|sas|user|cert|header", re.I).search
"""Whether an option of a foreign client may hold a secret, by its name."""

_NAME = rf"(?:[\w.-]*{SECRET}\d*|(?:x-amz-|x-goog-)[\w-]+|sig|auth|pat|sas)"
"""Names whose values are hidden, by how they end."""

_URL_PASSWORD = re.compile(r"((?<![a-z0-9])[a-z][a-z0-9+.-]{0,30}://[^\s/?#'\"@:]*):[^\s/?#'\"]*@", re.I)
_URL_USER_TOKEN = re.compile(r"((?<![a-z0-9])[a-z][a-z0-9+.-]{0,30}://)[^\s/?#'\"@:]{20,}@", re.I)
_ASSIGNED = re.compile(
    rf"(?<![\w.-])({_NAME}[\"']?\s*(?:=|:(?!//))\s*)((?:bearer|basic|token)\s+)?"
    r"(\"[^\"]*\"|'[^']*'|[^\s,;&'\")\]}]+)",
    re.I,
)
_LITERAL = re.compile(
    rf"(?<![\w.-])({_NAME}\s*(?::[^=\n\"']{{0,80}})?=\s*|{_NAME}[\"']\s*:\s*)"
    r"[rbf]{0,2}(\"\"\".+?\"\"\"|'''.+?'''|\"[^\"\n]+\"|'[^'\n]+')",
    re.I | re.S,
)
_BEARER = re.compile(r"\b([Bb]earer|[Bb]asic)\s+(?=[\w~+/.=-]*[\dA-Z=])[\w~+/.=-]{8,}")
_KNOWN = re.compile(
    r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"  # access key ids of AWS
    r"|\bgh[pousr]_\w{20,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{16,}"
    r"|\bsk-[\w-]{16,}|\bxox[abprs]-[\w-]{10,}|\bAIza[\w-]{30,}"
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"  # JSON web tokens
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    re.S,
)
_OPTION = re.compile(rf"--?(?:{_NAME}|key)\Z", re.I)
_HINT = re.compile(
    r"://|passw|passphrase|secret|token|credential|key|signature|auth|cookie|pwd|sig|pat|sas"
    r"|x-(?:amz|goog)|bearer|basic|akia|asia|gh[pousr]_|glpat|sk-|xox|aiza|eyj",
    re.I,
)
"""What all of the above have: most texts have none of it, and are let through at the first look."""


def redact(text: str) -> str:
    """The text with passwords in URLs, values that are named as secrets, and known tokens hidden."""
    if not _HINT.search(text):
        return text
    text = _KNOWN.sub(HIDDEN, text)
    text = _URL_PASSWORD.sub(rf"\1:{HIDDEN}@", text)
    text = _URL_USER_TOKEN.sub(rf"\1{HIDDEN}@", text)
    text = _ASSIGNED.sub(lambda found: f"{found[1]}{found[2] or ''}{HIDDEN}", text)
    return _BEARER.sub(rf"\1 {HIDDEN}", text)


def redact_source(code: str) -> str:
    """Source code with secrets hidden where they are literals. What is computed stays, so it can be read."""
    if not _HINT.search(code):
        return code
    code = _KNOWN.sub(HIDDEN, code)
    code = _URL_PASSWORD.sub(rf"\1:{HIDDEN}@", code)
    return _LITERAL.sub(rf'\1"{HIDDEN}"', code)


def redact_command(arguments: Sequence[str]) -> list[str]:
    """A command line with its secrets hidden: also the word that follows ``--password`` and the like."""
    hidden: list[str] = []
    follows = False
    for argument in arguments:
        hidden.append(HIDDEN if follows else redact(argument))
        follows = not follows and _OPTION.match(argument) is not None
    return hidden


# --- URLs of stores, as messages and logs may show them.


def without_credentials(url: str) -> str:
    """The URL as messages may show it: no user, no password, no query, no fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url.partition("://")[0] + "://..."
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
