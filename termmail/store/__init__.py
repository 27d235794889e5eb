"""The databases of a profile: truth from the servers, wishes of the user, drafts and the outbox.

The only room that speaks SQL.  It knows nothing of sockets, widgets or MIME.
"""
