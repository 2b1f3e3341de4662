"""What users declare and what we saw: frozen data."""
