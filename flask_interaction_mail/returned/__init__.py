"""What comes back: reports of mail servers about mail of ours, and automatic replies."""
