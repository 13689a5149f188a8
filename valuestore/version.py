"""The version of valuestore, which every execution is labelled with."""

__version__ = "0.1.0"
