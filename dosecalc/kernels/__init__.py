"""The hot path in NumPy, the readable statement, and once per faster backend with the same names and arguments."""
