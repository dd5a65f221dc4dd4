"""Fine-grained local semantics (FLS): label maps of body regions and belongings."""
