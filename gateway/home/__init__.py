"""The home: the link to its broker, what stands there, what is said about it, and what is done there."""
