"""From an intent to the bytes that leave."""
