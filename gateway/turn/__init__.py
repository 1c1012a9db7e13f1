"""The pipeline of one turn: a module a step, in the order of `pipeline.py`."""
