"""An IMAP and SMTP server of its own on loopback, and a mailbox worth reading.

Written against the RFCs with the standard library alone, so that it can judge the client: it shares no
protocol code with net/.
"""
