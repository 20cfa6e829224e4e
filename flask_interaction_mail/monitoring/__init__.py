"""What panel and command line both ask: so far, tests of the settings and what came of them."""
