"""Tables and curves, compiled from stored cells."""
