"""Tasks and calls: what users write. Knows values, no SQL and no executor."""

from valuestore.tasks import control as control  # which makes a call's result callable
from valuestore.tasks import lists as lists  # or what is stored of it would not be known
