"""The engine: carries out what the store says is wanted, and brings in what servers say.

No Textual, no socket, no SQL.
"""
