"""The schema: every table and view, and how one version of it becomes the next."""
