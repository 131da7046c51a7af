"""What `benchmarks/compare.py` draws."""
