"""What a failure of S3 means: from the exceptions of two clients to one code, and from that to a typed error.

The answers to a rejected request quote the credentials that came with it, so of an answer no more is passed
on than its code and, where that is safe, its message.
"""

from __future__ import annotations

import re

import botocore.exceptions

from valuestore.errors import AlreadyExists, CredentialsRejected, StoreError, StoreReadOnly, StoreUnavailable

NOT_PARTIAL = "non-partial response"
"""What obstore says of an answer to a request for a range that is none."""

ABSENT = {"NoSuchKey", "NotFound", "404"}
"""There is nothing of that name. A missing bucket is something else."""
UNKNOWN = {"NotImplemented", "501", "InvalidArgument", "InvalidRequest", "BadRequest", "400"}
"""How servers answer to a condition that they do not know; among others."""
PAST_THE_END = {"InvalidRange", "416"}
TAKEN = {"PreconditionFailed", "412"}
BUSY = {"ConditionalRequestConflict", "409", "OperationAborted"}
_REJECTED = {
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSecurity",
    "InvalidToken",
    "NoCredentialsError",
    "NotSignedUp",
    "PartialCredentialsError",
    "ProfileNotFound",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
    "TokenRefreshRequired",
    "UnrecognizedClientException",
    "CredentialRetrievalError",
    "UnauthorizedSSOTokenError",
    "SSOTokenLoadError",
    "401",
}
_DENIED = {"AccessDenied", "AllAccessDisabled", "AccountProblem", "403", "MethodNotAllowed", "405"}
_ELSEWHERE = {
    "PermanentRedirect",
    "301",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
}

_CODE = re.compile(r"<Code>([A-Za-z0-9.]+)</Code>")
_STATUS = re.compile(r"status code: (\d{3})")
_MESSAGE = re.compile(r"<Message>([^<]{1,200})</Message>")


def code_of(error: BaseException) -> str:
    """The code by which S3 names the failure; else the status; else the class of the exception."""
    if isinstance(error, botocore.exceptions.ClientError):
        return str(error.response.get("Error", {}).get("Code", "ClientError"))
    text = str(error)
    found = _CODE.search(text) or _STATUS.search(text)
    return found.group(1) if found is not None else type(error).__name__


class Busy(AlreadyExists):
    """Somebody else is writing there just now, so the condition of the request could not be judged."""


def typed(error: BaseException, url: str, bucket: str, *, writing: bool) -> StoreError:
    """The error to raise instead, from nothing: what it came from may quote a credential."""
    raised = _typed(error, code_of(error), url, bucket, writing)
    if isinstance(raised, StoreUnavailable):
        raised.cause = type(error).__name__
    return raised


def _typed(error: BaseException, code: str, url: str, bucket: str, writing: bool) -> StoreError:
    if code == "NoSuchBucket":
        return StoreUnavailable(url, f"there is no bucket {bucket!r}; make it, or open with create=True")
    if code in _REJECTED:
        return CredentialsRejected(url, code)
    if code in _DENIED:
        if writing:
            return StoreReadOnly(url, f"these credentials may not ({code})")
        return StoreUnavailable(url, f"access denied ({code})")
    if code in _ELSEWHERE:
        return StoreUnavailable(url, f"the bucket is in another region ({code}); give region=")
    return StoreUnavailable(url, _reason(error, code))


def _reason(error: BaseException, code: str) -> str:
    text = str(error)
    if isinstance(error, botocore.exceptions.ClientError):
        message = str(error.response.get("Error", {}).get("Message", ""))[:200]
        return f"{code}: {message}"
    if (found := _MESSAGE.search(text)) is not None:
        return f"{code}: {found.group(1)}"
    first = text.partition("\n")[0]
    if "timed out" in text.lower() or "timeout" in code.lower() or "kind: Timeout" in text:
        return f"no answer within the deadline, see timeout_seconds ({first[:200]})"
    return first[:300] or code
