"""Talking to servers: IMAP, SMTP and TLS.  Knows neither the store nor the screen."""
