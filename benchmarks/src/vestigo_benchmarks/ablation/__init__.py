"""Ablations: the configurations of the method, trained with several seeds and compared."""
