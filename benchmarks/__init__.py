"""How fast, how accurate, and against what: measured, with the machine and the load said beside every figure."""
