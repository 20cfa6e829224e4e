"""What may be set, where it comes from, and how it is kept."""
