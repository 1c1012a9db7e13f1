"""Figures against their floors, all measured in one run. `python -m tests.benchmarks` prints them; nothing is asserted."""
