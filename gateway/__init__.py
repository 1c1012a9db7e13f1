"""A gateway for Home Assistant's voice and chat assistants: acts, remembers, caches, and asks a local model."""

__version__ = "0.1.0"
