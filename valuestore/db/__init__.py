"""SQL metadata: the only folder that imports sqlalchemy.

From the bottom: ``engine``, ``schema``, ``record`` (what runs write and look up), ``history`` (for people).
"""
