"""Redaction: secrets out of text before it is kept. The one choke point for what people read later.

Command lines, labels of executions, errors and tracebacks of jobs, and source code pass through here.
Arguments and results do not: they are the pipeline's data, and their bytes are what they are. ``FORMS`` is
the table of what is hidden, ``tests/redaction_corpus.py`` says it by example. Every pattern takes time in
proportion to the text: what repeats in it is bounded, possessive, or cannot begin twice in one stretch. It is
compiled when there is first a text that can have a match: all of them take as long as opening a repository.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache

HIDDEN = "***"

SECRET_WORDS = (
    r"passw(?:or)?d",
    "pass(?:phrase|code)",
    "pwd",
    "secret",
    "token",
    "credentials?",
    "(?:api|access|private|account|secret|session|shared|master|encryption|signing|auth)[_-]?key",
    "signature",
    "authorization",
    "cookie",
)
"""What the names of secrets end with: a ``token``, but not ``max_tokens`` or a ``tokenizer``."""

SECRET = rf"(?:{'|'.join(SECRET_WORDS)})"
_compiled = cache(re.compile)


def names_secret(name: str) -> bool:
    return _compiled(rf"{SECRET}\Z", re.I).search(name) is not None


def suggests_secret(name: str) -> bool:
    """Whether the name of a parameter in a URL may be that of a secret: these stand anywhere in it."""
    return _compiled(rf"{SECRET}|passw|auth|session|jwt|\Akey\Z", re.I).search(name) is not None


def may_hold_secret(name: str) -> bool:
    """Whether an option of a foreign client may hold a secret, by its name."""
    return _compiled(rf"{SECRET}|passw|auth|key|conn|sas|user|cert|header", re.I).search(name) is not None


# --- Tokens that are known by how they begin.

_BEFORE_LETTERS = (
    "gh[pousr]|github_pat|npm|hf|api_org|[sr]k_(?:live|test)|whsec|do[opr]_v1|shp(?:at|ca|pa|ss)|dckr_[po]at|figdr?"
    "|lin_(?:api|oauth)|secret|ntn|sntry[su]|glsa|glc|gsk|r8|pcsk|lsv2_[ps][tk]|sbp|nfp|napi|pnu|rubygems|rdme|bkua"
    "|pscale_(?:tkn|pw|oauth)|tfp"
)
"""And an underscore, before 16 letters and digits or more."""
_BEFORE_DASHES = (
    "gl(?:pat|dt|rt|ptt|soat|cbt|oas|ft|imt|agent)|xox[abeoprs]|xapp|GOCSPX|PMAK|NR(?:AK|JS|II)|HRKU|tskey|pul|xkeysib"
    "|xai|pplx|CFPAT|CCIPAT|sq0(?:atp|csp|idp)"
)
"""And a dash, before letters, digits and dashes."""
_TOKENS = (
    rf"(?:{_BEFORE_LETTERS})_[A-Za-z0-9]{{16}}[\w.+/=-]*+",
    rf"(?:{_BEFORE_DASHES})-[\w.-]{{10,}}+",
    r"A(?:KIA|SIA|BIA|CCA)[A-Z0-9]{16}\b|ABSK[\w+/=]{40,}+",  # Amazon
    r"AIza[\w-]{30,}+|ya29\.[\w-]{20,}+|1//0[\w-]{30,}+",
    r"[\w~.-]{3}\dQ~[\w~.-]{31,34}|LTAI\w{12,}+|v1\.0-[0-9a-f]{24}-[0-9a-f]{60,}+",  # Azure, Cloudflare
    r"sk-(?:(?=[A-Za-z_-]{0,60}[\dA-Z])[\w-]{16,}+|\w{24,}+)",  # OpenAI, Anthropic, OpenRouter
    r"SG\.[\w-]{16,}+\.[\w-]{16,}+|SK[\da-f]{32}\b|key-[\da-f]{32}\b|[\da-f]{32}-us\d{1,2}\b",  # mail
    r"pypi-A[\w-]{16,}+|oy2[a-z0-9]{43}|dapi[\da-f]{32}(?:-\d)?\b|sl\.(?:u\.)?[\w-]{60,}+",
    r"hv[sbr]\.[\w-]{24,}+|s\.(?=[A-Za-z]{0,30}\d)[A-Za-z0-9]{24}\b|\w{14}\.atlasv1\.[\w-]{20,}+|dp\.(?:pt|st|ct|sa)\.\w{20,}+",
    r"(?:bot)?\d{8,10}:AA[\w-]{30,}+|[MNO][\w-]{23,27}\.[\w-]{6}\.[\w-]{27,40}|EAAA[\w-]{50,}+",  # chats
    r"AT[AC]TT3[\w=-]{20,}+|ATBB\w{24,}+|pat\w{14}\.[0-9a-f]{64}|pat-[a-z]{2}\d-[\da-f-]{36}",
    r"AGE-SECRET-KEY-1[A-Z0-9]{16,}+|dt0[cs]\d\d\.\w{24}\.\w{40,}+|eyJrIjoi[\w=+/-]{20,}+",
    r"(?<![\w-])eyJ[\w-]{8,}+\.[\w-]{8,}+(?:\.[\w-]*+)?",  # JSON web tokens
)

# --- Names and values, as people and programs write them.

_NAME = rf"(?:{SECRET}\d*|(?<![\w.-])(?:(?:x-amz|x-goog)-[\w-]{{1,60}}|sig|pat|sas|jwt)|(?<![a-z0-9.-])auth)"
"""Names whose values are hidden, by how they end."""
_QUOTED = (
    r"(?:\"\"\".*?(?:\"\"\"|\Z)|'''.*?(?:'''|\Z)"
    r"|\"(?:[^\"\\]|\\.)*+(?:\"|\\?\Z)|'(?:[^'\\]|\\.)*+(?:'|\\?\Z))"
)
_INSIDE = r"\\{1,8}[\"'](?:[^\"'\\]|\\(?!\\{0,8}[\"']))*+(?:\\{1,8}[\"'])?"
"""Quoted inside another text's quotes."""
_BARE = (
    r"(?:[^\s,;&'\"\\)\]}{]|\{[\w.]*\}?|\\[^\"'\s]|\"[^\"\n]*+\"|'[^'\n]*+'|[\"'](?=\w)"
    r"|[,)\]}](?=[^\s,;&'\"\\)\]}])(?!.[\w.-]{1,60}[=:]))*+"
)
_VALUE = rf"((?:[rbuf]{{0,2}}{_QUOTED}|{_INSIDE}|[({{\[][^(){{}}\[\]\n]{{1,500}}[)}}\]])?+{_BARE})"
_NO_VALUE = r"(?:\"\"|''|\*+|\$\{[\w.]*\}|\$[A-Z_]+|%\(\w+\)s|%s|<[\w-]*>|None|null|True|False|true|false)?\Z"
"""What stands for a value, or says that there is none."""
_COMPUTED = r"\{[\w.]*(?:![rsa])?\}\Z"
"""The same in a string literal of code."""
_OPTION = rf"(?:[\w-]{{0,60}}?{SECRET}\d*|(?:[\w-]{{0,60}}?-)?(?:pass|pw|auth)|sig|pat|sas|jwt)"
_SCHEME = r"(?:(?:bearer|basic|digest|negotiate|token|apikey|ssws|aws4-hmac-sha256)[ \t]++)?"
_USER = r"(?<![a-z0-9])(?:(?!https?:)[a-z][a-z0-9+.-]{0,30}://|https?://(?![^/\s@]{1,256}:\d{1,5}[/?#]))[^\s/?#'\"@:]*+:"
"""Of a URL, up to the password; what follows the host's colon in http is a port."""


def _may_have_token(lowered: str) -> bool:
    """Known tokens have thirteen of these characters or more in a row, but for two kinds."""
    is_long = _compiled(r"[\w.~=-]{13}").search(lowered) is not None
    return is_long or "absk" in lowered or "eyj" in lowered


@dataclass(frozen=True)
class Form:
    """A way in which secrets are written: what stays before one is the first group, the secret the last.

    Every match has one of the parts that it ``needs``, in lower case, with spaces between. Not
    ``in_code``: in strings and comments of source code it is mostly prose.
    """

    name: str
    needs: str
    pattern: str
    flags: re.RegexFlag = re.I | re.S
    in_code: bool = True

    def may_match(self, lowered: str) -> bool:
        """Whether there can be a match in this text, which is in lower case."""
        if not self.needs:
            return _may_have_token(lowered)
        return any(part in lowered for part in self.needs.split()) or not lowered.isascii()


FORMS = (
    Form(
        "blocks of keys",
        "-----begin private-lines",
        r"()(-----BEGIN [A-Z0-9 ]{0,40}(?:PRIVATE KEY|PGP MESSAGE)[A-Z ]{0,10}-----"
        r".*?(?:-----END [A-Z0-9 ]{0,60}-----|\Z)|(?<=Private-Lines: )\d.*?(?=\nPrivate-MAC|\Z))",
        re.S,
    ),
    Form("known tokens", "", rf"()(?<![A-Za-z0-9])((?:{'|'.join(_TOKENS)}))", re.NOFLAG),
    Form(
        "hooks",
        "hooks.slack discord",
        r"((?:hooks\.slack\.com/\w{1,20}|discord(?:app)?\.com/api/webhooks/\d{1,30})/)([\w/-]++)",
    ),
    Form("passwords in URLs", "@", rf"({_USER})([^\s/?#'\"]*(?=@)|[^\s'\"@]{{1,512}}(?=@))"),
    Form("tokens in URLs", "@", r"((?<![a-z0-9])[a-z][a-z0-9+.-]{0,30}://)([^\s/?#'\"@:]{20,}+)(?=@)"),
    Form(
        "headers",
        ":",
        rf"((?<![\w-])([\"'])?(?:(?:proxy-)?authorization|(?:set-)?cookie2?):[ \t]*{_SCHEME})"
        r"((?:(?(2)(?!\2))[^\r\n])*+)",
    ),
    Form(
        "assignments",
        "=",
        rf"({_NAME}(?:\\{{0,8}}[\"'])?\]?[ \t]*(?::=|=>|=(?!=))[ \t]*{_SCHEME}){_VALUE}",
    ),
    Form(
        "members",
        ":",
        rf"({_NAME}(?:\\{{0,8}}[\"'])?[ \t]*:[ \t]*{_SCHEME}(?=[\\rbuf]{{0,2}}[\"'])){_VALUE}",
    ),
    Form("lines", ":", rf"({_NAME}[ \t]*:(?!//)[ \t]*{_SCHEME}){_VALUE}", in_code=False),
    Form("pairs", ",", rf"(\(\s{{0,9}}[\"'][\w.-]{{0,60}}?{_NAME}[\"'],\s{{0,9}}[rbuf]{{0,2}})({_QUOTED})"),
    Form("elements", "<", rf"(<[\w:.-]{{0,60}}?{_NAME}>)([^<]++)"),
    Form("options", "-", rf"((?<![\w-])--?{_OPTION}(?:[ \t]++(?!-)|=)){_VALUE}"),
    Form(
        "users of commands",
        "-",
        rf"((?<![\w-])(?:-u|--(?:proxy-)?user|--auth)[ \t=]*[\"']?[^\s:'\"/]{{1,100}}:)(?!\d+(?!\S)){_VALUE}",
    ),
    Form(
        "passwords of commands",
        "-",
        r"((?<![\w-])(?:(?:mysql|mariadb)[\w-]*+(?:[ \t]++[^\s|;]++){0,20}?[ \t]++-p"
        rf"|(?:sshpass|redis-cli)(?:[ \t]++[^\s|;]++){{0,20}}?[ \t]++-[ap][ \t]*)){_VALUE}",
    ),
    Form("netrc", "login", rf"((?<!\w)login\s{{1,9}}[^\s]{{1,200}}\s{{1,9}}password\s{{1,9}}){_VALUE}"),
    Form("DSN of MySQL", "@", r"((?<![\w.-])[\w.-]{1,60}:)([^\s@/:]{1,200})(?=@(?:tcp|unix)\()"),
    Form("DSN of Oracle", "@", r"(jdbc:oracle:\w{1,9}:[^\s/@]{1,60}/)([^\s@]{1,200})(?=@)"),
    Form(
        "keys of Heroku",
        "heroku",
        r"(heroku[\w .:='\"-]{0,40}?)((?<!\w)[\da-f]{8}-(?:[\da-f]{4}-){3}[\da-f]{12})",
    ),
    Form(
        "bearers",
        "bearer basic ssws",
        r"((?<!\w)(?:[Bb]earer|[Bb]asic|SSWS)[ \t]++)((?=[\w~+/.-]{0,200}[\dA-Z=])[\w~+/.=-]{8,}+)",
        re.NOFLAG,
    ),
)
"""What is hidden, in this order."""

_LITERAL = (
    r"[rbuft]{0,2}(?:\"\"\"(?:[^\\]|\\.)*?(?:\"\"\"|\Z)|'''(?:[^\\]|\\.)*?(?:'''|\Z)"
    r"|\"(?:[^\"\\\n]|\\.)*+(?:\"|(?=\n)|\\?\Z)|'(?:[^'\\\n]|\\.)*+(?:'|(?=\n)|\\?\Z))"
)
_NAMED_LITERAL = (
    rf"(\(\s{{0,9}}[\"'][\w.-]{{0,60}}?{_NAME}[\"'],\s{{0,9}}"
    rf"|{_NAME}(?:[\"']\s*:|[\"']?\]?\s*(?::[^=\n\"']{{0,80}})?[=!]?=)[ \t]*(?:\(\s*)?)"
    rf"(?!(?:\"\"|'')(?![\"']))({_LITERAL}(?:\s*+{_LITERAL})*+)"
)
_ANY_NAME = rf"{SECRET}|x-amz|x-goog|sig|pat|sas|jwt|auth"
_IN_CODE = rf"#[^\n]*+|{_LITERAL}"


def redact(text: str) -> str:
    """The text with passwords in URLs, values that are named as secrets, and known tokens hidden."""
    return _redacted(text, FORMS, _hide)


def _redacted(text: str, forms: Iterable[Form], hide: Callable[[re.Match[str]], str]) -> str:
    lowered = text.lower()
    for form in forms:
        if form.may_match(lowered):
            text = _compiled(form.pattern, form.flags).sub(hide, text)
            lowered = text.lower()
    return text


def redact_source(code: str) -> str:
    """Source code with secrets hidden where they are literals. What is computed stays, so it can be read."""
    flags = re.I | re.S
    if _compiled(_ANY_NAME, re.I).search(code):
        code = _compiled(_NAMED_LITERAL, flags).sub(rf'\1"{HIDDEN}"', code)
    return _compiled(_IN_CODE, flags).sub(_hide_inside, code)


def redact_command(arguments: Sequence[str]) -> list[str]:
    """A command line with its secrets hidden: also the word that follows ``--password`` and the like."""
    hidden: list[str] = []
    before = ""
    for argument in arguments:
        known = f"{arguments[0]} {before} "  # what a word means depends on these
        shown = redact(known + argument)
        if before.startswith("-") and _compiled(rf"--?(?:{_OPTION}|key)\Z", re.I).match(before):
            hidden.append(HIDDEN)
            before = ""
        else:
            hidden.append(shown[len(known) :] if shown.startswith(known) else redact(argument))
            before = argument
    return hidden


def _hide(found: re.Match[str]) -> str:
    return found[0] if _compiled(_NO_VALUE).match(found[found.re.groups]) else f"{found[1]}{HIDDEN}"


def _hide_in_code(found: re.Match[str]) -> str:
    return found[0] if _compiled(_COMPUTED).match(found[found.re.groups]) else _hide(found)


def _hide_inside(found: re.Match[str]) -> str:
    """A string literal or comment of source code."""
    return _redacted(found[0], [form for form in FORMS if form.in_code], _hide_in_code)


# --- URLs of stores, as messages and logs may show them.


def without_credentials(url: str) -> str:
    """The URL as messages may show it: no user, no password, no query, no fragment."""
    from urllib.parse import urlsplit  # late: few programs have URLs to show

    try:
        parts = urlsplit(url)
    except ValueError:
        return url.partition("://")[0] + "://..."
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()
