"""FsspecStore, and the filesystems of fsspec that it and remote Files stand on."""
