"""Review of attribute predictions by people."""
