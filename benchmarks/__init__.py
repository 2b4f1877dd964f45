"""How fast it is, measured: each module runs alone, as `python -m benchmarks.<name>`, and names its machine."""
