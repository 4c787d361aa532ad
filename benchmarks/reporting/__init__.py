"""The report of the benchmarks: what it reads, what it says, and how that is drawn; `benchmarks/report.py` makes it."""
