"""Benchmarks that ship with the product: `vestigo ablate` runs them."""
