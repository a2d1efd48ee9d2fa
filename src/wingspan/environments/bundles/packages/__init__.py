"""Packages: fetched, checked against the lock, and extracted once."""
