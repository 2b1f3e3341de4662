"""The API server's rules of admission, by topic. Pure: an object in, findings out."""
