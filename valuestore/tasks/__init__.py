"""Tasks and calls: what users write. Knows values, no SQL and no executor."""
