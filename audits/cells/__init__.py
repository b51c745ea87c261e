"""Cells: an attack on a run, scored row by row beside its twins, and stored."""
