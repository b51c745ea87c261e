"""Slow proofs of what a report looks like and how it behaves; commands of their own."""
