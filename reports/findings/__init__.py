"""What follows from stored results, in order and in words."""
