"""Interop: where what is recorded meets other programs. Each module is imported by its name."""
