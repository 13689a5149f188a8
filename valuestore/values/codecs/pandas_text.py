"""The content of pandas strings, in the words of arrow_content.py, whether Python or Arrow keeps them.

Without pyarrow, which pandas does not need, the same digests come from Python's strings.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from valuestore.values.codecs.numpy import digest_of
from valuestore.values.value import Plain


def text_content(array: Any) -> Plain:
    """Length, and digests of validity, lengths (eight bytes each) and UTF-8, as of Arrow's large strings."""
    if array.dtype.storage == "pyarrow":
        return _of_arrow(array.__arrow_array__())
    return _of_python(array)


def _of_arrow(column: Any) -> Plain:
    import pyarrow as pa

    from valuestore.values.codecs.arrow_content import content

    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    return content([chunk.cast(pa.large_string()) for chunk in chunks], pa.large_string())


def _of_python(array: Any) -> Plain:
    valid = ~np.asarray(array.isna())
    texts = [text.encode("utf-8", "surrogatepass") for text in np.asarray(array, dtype=object)[valid]]
    lengths = np.fromiter(map(len, texts), "<i8", len(texts))
    validity = None if valid.all() else digest_of(valid.view(np.uint8))
    joined = np.frombuffer(b"".join(texts), np.uint8)
    return [len(array), validity, digest_of(lengths), digest_of(joined)]
