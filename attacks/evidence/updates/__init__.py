"""What devices send to be averaged."""
