"""What several benchmarks need: the machine, clocks, upstream's way of decoding, and how ratios are drawn."""
