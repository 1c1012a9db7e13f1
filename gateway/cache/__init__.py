"""Stored answers: what may be stored (law), under which name (key), and where (layers)."""
