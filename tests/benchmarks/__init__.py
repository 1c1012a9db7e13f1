"""Figures against their floors, measured in one run. `python -m tests.benchmarks` prints them; nothing is asserted."""
