"""The scheduler: the one place that knows database, tasks and executors together."""
