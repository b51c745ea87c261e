"""What several attacks compute from a view and public knowledge, by what crossed."""
