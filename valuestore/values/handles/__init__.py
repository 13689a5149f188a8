"""Handles: outside state that a pipeline changes as it runs."""
