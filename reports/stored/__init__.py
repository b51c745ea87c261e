"""What an audit left in its folder, read and checked."""
