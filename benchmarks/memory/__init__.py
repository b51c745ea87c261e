"""The most memory that each party holds, each in a process of its own."""
