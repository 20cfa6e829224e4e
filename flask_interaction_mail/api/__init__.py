"""The calls of a host: send, look up, cancel. All of them need an app context."""
