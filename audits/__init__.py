"""The harness: record runs, attack them apart, score, store and resume."""
