"""Bodies of tasks: given to executors, and what they gave taken in."""
