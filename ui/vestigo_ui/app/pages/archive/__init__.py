"""Page Archive: cameras, runs and quarantined inputs."""
