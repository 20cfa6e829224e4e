"""The plan of docs/scale.md for much mail: costs, formulae, and a simulated day to check them."""
