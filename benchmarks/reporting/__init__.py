"""The parts of the benchmark report: its input, text, tables and plots; `benchmarks/report.py` writes it."""
