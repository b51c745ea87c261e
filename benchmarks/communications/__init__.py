"""Bytes on the wire: counted, derived from what each protocol is, and turned into seconds on links."""
