"""The parts of ``benchmarks/method.py``: the grid, the work of a cell, the records, the schedule, the summary."""
