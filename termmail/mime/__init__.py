"""Bytes into parts and words, and drafts into bytes.  Pure functions: no network, no files, no state."""
