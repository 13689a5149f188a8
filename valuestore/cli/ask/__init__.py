"""Asking: commands that read the record."""
