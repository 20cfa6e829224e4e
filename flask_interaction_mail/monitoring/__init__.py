"""What is true now, for panel and command line alike."""
