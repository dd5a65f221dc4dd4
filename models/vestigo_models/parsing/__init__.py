"""Human parsers behind one protocol: pixels of one person to body regions."""
