"""How far the dose is from data that nobody here made: one command, one table (`python -m benchmarks.accuracy`)."""
