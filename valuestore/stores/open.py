"""open_store: a URL becomes the store that it names. The only place, with ``Routed``, where URLs exist."""

from __future__ import annotations

import os
from typing import Any, cast

from valuestore import plugins
from valuestore.errors import BadReference, ConfigError
from valuestore.redaction import without_credentials
from valuestore.stores.base import Store


def open_store(url: str | os.PathLike[str], **settings: Any) -> Store:
    """The store that the URL names (``memory://name``, ``file:///path``), or the folder of a plain path.

    ``settings`` go to the store's constructor. Schemes beyond the built-in ones come from plug-ins
    (``valuestore.plugins``, kind ``stores``). Raises: BadReference, naming the schemes there are.
    """
    text = os.fspath(url)
    scheme, separator, _ = text.strip().partition("://")
    if not separator:
        if not text:
            raise BadReference(text, "it is empty; give a folder or a URL")
        return cast(Store, plugins.find("stores", "file")(text, **settings))
    if not (text := text.strip()).isprintable():
        raise BadReference(without_credentials(repr(text)), "there is a control character in it")
    try:
        store = plugins.find("stores", scheme.lower())
    except ConfigError as error:
        if isinstance(error.__cause__, ModuleNotFoundError):
            raise BadReference(without_credentials(text), error.args[1]) from error
        known = ", ".join(f"{name}://" for name in plugins.names("stores"))
        raise BadReference(without_credentials(text), f"no such scheme; there are {known}") from error
    return cast(Store, store.from_url(text, **settings))
