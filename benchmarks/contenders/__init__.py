"""The programs that are measured. Each function runs in a process of its own (see ``child``)."""
