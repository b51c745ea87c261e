"""Which class a difference or a pivot speaks of."""
