"""``python -m valuestore`` is the command ``valuestore``."""

from __future__ import annotations

from valuestore.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
