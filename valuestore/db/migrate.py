"""Schema versions, under the name that programs know: see ``schema/migrate.py``."""

from valuestore.db.schema.migrate import KNOWN as KNOWN
from valuestore.db.schema.migrate import downgrade as downgrade
from valuestore.db.schema.migrate import migrations_path as migrations_path
from valuestore.db.schema.migrate import upgrade as upgrade
