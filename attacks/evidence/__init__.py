"""What attacks compute from a view and public knowledge: in rooms by what they read, beside what all rooms share."""
