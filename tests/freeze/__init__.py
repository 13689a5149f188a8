"""Freeze: what may not move while the modules do: names, digests, formats, repositories, counts."""
