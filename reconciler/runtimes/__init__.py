"""What can run pods. Each runtime is blind to the others."""
