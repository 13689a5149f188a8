"""valuestore."""
