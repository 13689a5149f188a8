"""FileStore and its parts, from the bottom up.

``posix`` (system calls, and what their failures mean), ``unsynced``, ``root``, ``temporary``, ``places``
(which file holds a key, and which keys there are), ``sidecars`` (attributes), ``commit``; ``store``
tells how they work together. Keys are handled here as bytes, and called ``raw`` then.
"""
