"""How fast attacks are, and beside others' own code: the one room of benchmarks that imports attacks."""
