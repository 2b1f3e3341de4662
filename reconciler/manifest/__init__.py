"""Bytes to objects or problems. Pure."""
