"""Running: ``valuestore run``, from a command line to a call."""
