"""The loop: takes what is due out of the outbox and hands it to the transport."""
