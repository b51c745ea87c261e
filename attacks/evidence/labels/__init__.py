"""Which class a difference, a gradient or a pivot speaks of."""
