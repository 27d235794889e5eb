"""IMAP: the wire, a logged-in session, and the quirks of servers."""
