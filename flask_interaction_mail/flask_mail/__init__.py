"""Flask-Mail as hosts use it: its place in an application, and its messages as ours."""
