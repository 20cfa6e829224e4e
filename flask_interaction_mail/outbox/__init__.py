"""Every statement on messages and attempts, and on what is known of servers and workers."""
