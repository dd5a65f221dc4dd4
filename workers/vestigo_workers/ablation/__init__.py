"""The ablation of configurations and seeds."""
