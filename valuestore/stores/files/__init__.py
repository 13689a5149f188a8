"""The parts of FileStore, each one noun; ``stores.filesystem`` tells how they work together.

From the bottom up: ``posix`` (system calls, and what their failures mean), ``unsynced``, ``root``,
``temporary``, ``reader``, ``odd``, ``places`` (which file holds a key), ``sidecars`` (attributes), ``etags``,
``walk`` (listing), ``commit``, ``locks``. Keys are handled here as bytes, and called ``raw`` then.
"""
