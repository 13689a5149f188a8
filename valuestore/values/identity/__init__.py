"""Identity: what an object is, as plain data that is the same in every process."""
