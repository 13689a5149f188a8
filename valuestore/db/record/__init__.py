"""Recording: rows in, in few transactions; and looking up what was recorded."""
