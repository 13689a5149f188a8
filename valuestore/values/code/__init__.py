"""Code: functions, classes and constants by what they do; whose a module is."""
