"""The screen.  Reads the store, writes wishes into it, never touches a server.  Textual lives here and nowhere else."""
