"""Keeping: commands that make, check and move what is kept."""
