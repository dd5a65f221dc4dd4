"""Floor 1: schemas, networks, training, detection, tracking and rendered people, as functions on arrays."""
