"""What File, FileSet and Dir stand on: locations, filesystems, manifests of folders, remembered digests."""
