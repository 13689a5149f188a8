"""Codecs: object <-> bytes, one file per format. Decoding executes nothing and imports nothing."""
