-- queue.db: what only this machine has.  Every commit here is synchronous.

CREATE TABLE draft (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    account     TEXT    NOT NULL,
    updated     REAL    NOT NULL,
    fields      TEXT    NOT NULL,                   -- JSON of Draft, but for body and attachments' data
    body        TEXT    NOT NULL DEFAULT '',
    open        INTEGER NOT NULL DEFAULT 1          -- 1: a composer had it; offered again after a crash
) STRICT;

CREATE TABLE draft_data (                           -- attachments that are no file of the user's
    draft_id    INTEGER NOT NULL REFERENCES draft (id) ON DELETE CASCADE,
    place       INTEGER NOT NULL,
    data        BLOB    NOT NULL,
    PRIMARY KEY (draft_id, place)
) STRICT;

CREATE TABLE outbox (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    account     TEXT    NOT NULL,
    state       TEXT    NOT NULL,                   -- SendState
    phase       TEXT    NOT NULL DEFAULT '',        -- while sending: connect | envelope | data | terminator
    mid         TEXT    NOT NULL UNIQUE,
    sender      TEXT    NOT NULL,                   -- MAIL FROM
    subject     TEXT    NOT NULL DEFAULT '',
    spool       TEXT    NOT NULL,                   -- file name below the spool folder: the frozen bytes
    size        INTEGER NOT NULL,
    created     REAL    NOT NULL,
    not_before  REAL    NOT NULL DEFAULT 0,
    attempts    INTEGER NOT NULL DEFAULT 0,
    progress    INTEGER NOT NULL DEFAULT 0,
    error       TEXT    NOT NULL DEFAULT '',
    filed       INTEGER NOT NULL DEFAULT 0,         -- 1: the copy stands in Sent, or is not ours to file
    file_phase  TEXT    NOT NULL DEFAULT '',        -- '' | append: an APPEND was begun, look before doing it again
    file_uidnext INTEGER NOT NULL DEFAULT 0,        -- UIDNEXT of Sent before
    parent      INTEGER NOT NULL DEFAULT 0,         -- PlacementId that is answered or forwarded
    kind        TEXT    NOT NULL DEFAULT 'new'      -- Kind
) STRICT;

CREATE TABLE recipient (
    outbox_id   INTEGER NOT NULL REFERENCES outbox (id) ON DELETE CASCADE,
    email       TEXT    NOT NULL,
    status      TEXT    NOT NULL DEFAULT 'pending', -- pending | ok | temp | perm
    code        TEXT    NOT NULL DEFAULT '',
    words       TEXT    NOT NULL DEFAULT '',
    PRIMARY KEY (outbox_id, email)
) STRICT;
