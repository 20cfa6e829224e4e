"""How fast it is, and how fast others are, measured side by side. See docs/benchmarks.md."""
