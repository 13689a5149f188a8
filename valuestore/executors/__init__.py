"""Executors: where task bodies run. Anything that is a ``concurrent.futures.Executor`` is one."""
