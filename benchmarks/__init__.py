"""How fast, how large and how accurate the simulator is, on every backend: `python -m benchmarks`."""
