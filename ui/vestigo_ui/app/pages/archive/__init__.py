"""Page Archive: cameras and runs."""
