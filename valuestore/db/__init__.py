"""SQL metadata: the only folder that imports sqlalchemy."""
