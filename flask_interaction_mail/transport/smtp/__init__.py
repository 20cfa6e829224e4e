"""SMTP, from the connection to what a reply means."""
