"""The SMTP client, from the connection to what a reply means."""
