"""Screens own state."""
