"""Reading a mailbox by IMAP (RFC 3501), as far as returned mail needs it."""
