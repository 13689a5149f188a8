"""The engine: connections to one metadata database, and the failures of drivers as errors of ours."""

from valuestore.db.engine.database import Database as Database
