"""How fast, how accurate, and compared with what: measured, and every figure with its machine and load."""
