-- mail.db: what servers said (truth), with what the user wants laid over it (intent).
-- It can be rebuilt from the servers but for wishes not yet carried out.
-- Drafts and the outbox are in queue.db: the loss of this file must not touch them.

CREATE TABLE account (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    name        TEXT    NOT NULL UNIQUE,            -- [accounts.NAME] of the settings
    email       TEXT    NOT NULL DEFAULT '',
    state       TEXT    NOT NULL DEFAULT 'offline', -- AccountState
    folder      TEXT    NOT NULL DEFAULT '',        -- what is being synchronised
    done        INTEGER NOT NULL DEFAULT 0,
    total       INTEGER NOT NULL DEFAULT 0,
    last_sync   REAL    NOT NULL DEFAULT 0,         -- seconds since the epoch
    error       TEXT    NOT NULL DEFAULT '',        -- in words, SafeText
    learned     TEXT    NOT NULL DEFAULT '{}'       -- JSON: what experience taught about this server
) STRICT;

CREATE TABLE folder (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id  INTEGER NOT NULL REFERENCES account (id) ON DELETE CASCADE,
    wire        BLOB    NOT NULL,                   -- the name as the server spells it (modified UTF-7)
    path        TEXT    NOT NULL,                   -- decoded, SafeText
    delimiter   TEXT    NOT NULL DEFAULT '/',       -- '' for a flat name space
    role        TEXT    NOT NULL DEFAULT '',        -- Role
    selectable  INTEGER NOT NULL DEFAULT 1,
    subscribed  INTEGER NOT NULL DEFAULT 1,
    -- the server's truth as of the last pass
    uidvalidity INTEGER NOT NULL DEFAULT 0,         -- 0: never selected
    uidnext     INTEGER NOT NULL DEFAULT 0,
    modseq      INTEGER NOT NULL DEFAULT 0,         -- HIGHESTMODSEQ fully applied; 0: none
    lo          INTEGER NOT NULL DEFAULT 0,         -- every existing UID in [lo, hi] is here; lo = 1: complete
    hi          INTEGER NOT NULL DEFAULT 0,
    srv_total   INTEGER NOT NULL DEFAULT -1,
    srv_unseen  INTEGER NOT NULL DEFAULT -1,
    synced      REAL    NOT NULL DEFAULT 0,
    -- kept by triggers: what the tree shows
    total       INTEGER NOT NULL DEFAULT 0,
    unread      INTEGER NOT NULL DEFAULT 0,
    UNIQUE (account_id, wire)
) STRICT;

CREATE TABLE message (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id  INTEGER NOT NULL,
    ident       BLOB    NOT NULL,                   -- links copies, never deletes; begins with the date, so that its index grows at its end
    thread      INTEGER NOT NULL DEFAULT 0,
    date        INTEGER NOT NULL DEFAULT 0,         -- Date field; 0: none
    size        INTEGER NOT NULL DEFAULT 0,         -- RFC822.SIZE
    attachments INTEGER NOT NULL DEFAULT 0,
    from_name   TEXT    NOT NULL DEFAULT '',
    from_email  TEXT    NOT NULL DEFAULT '',
    to_names    TEXT    NOT NULL DEFAULT '',        -- for the Sent folder: "Ada, Grace"
    recipients  TEXT    NOT NULL DEFAULT '',        -- JSON {"to": [[name, email]…], "cc": […]}
    subject     TEXT    NOT NULL DEFAULT '',
    mid         TEXT    NOT NULL DEFAULT '',        -- Message-ID with angle brackets
    refs        TEXT    NOT NULL DEFAULT ''         -- In-Reply-To and References, blank-separated, newest last
) STRICT;
CREATE INDEX message_ident ON message (account_id, ident);

CREATE TABLE body (
    message_id  INTEGER PRIMARY KEY REFERENCES message (id) ON DELETE CASCADE,
    raw         BLOB    NOT NULL,                   -- zlib of the whole message as it came
    size        INTEGER NOT NULL,
    fetched     REAL    NOT NULL,
    poison      INTEGER NOT NULL DEFAULT 0          -- 1: killed the worker; shown as source from then on
) STRICT;

CREATE TABLE body_wanted (                          -- somebody waits for these
    message_id  INTEGER PRIMARY KEY REFERENCES message (id) ON DELETE CASCADE,
    asked       REAL    NOT NULL,
    error       TEXT    NOT NULL DEFAULT ''         -- why it could not be had; '' while waiting
) STRICT;

CREATE TABLE placement (                            -- this message is in that folder
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    message_id  INTEGER NOT NULL REFERENCES message (id),
    -- truth: written by sync and by acknowledged intents only
    folder_id   INTEGER NOT NULL REFERENCES folder (id) ON DELETE CASCADE,
    uid         INTEGER,                            -- NULL: moved there, UID not known yet
    srv_flags   INTEGER NOT NULL DEFAULT 0,         -- Flag bits
    srv_keywords TEXT   NOT NULL DEFAULT '',        -- other keywords, blank-separated, sorted
    modseq      INTEGER NOT NULL DEFAULT 0,
    -- intent: what the user wants; equal to the truth where pending = 0
    view_id     INTEGER,                            -- the folder that shows it; NULL: to be deleted for ever
    flags       INTEGER NOT NULL DEFAULT 0,
    keywords    TEXT    NOT NULL DEFAULT '',
    pending     INTEGER NOT NULL DEFAULT 0,         -- Pending bits: see store/intents.py
    sort        INTEGER NOT NULL DEFAULT 0          -- INTERNALDATE (else Date) in seconds << 20 | low bits of the UID: the order of the list
) STRICT;
CREATE UNIQUE INDEX placement_uid ON placement (folder_id, uid);
CREATE INDEX placement_view ON placement (view_id, sort DESC, id DESC);
CREATE INDEX placement_pending ON placement (folder_id) WHERE pending <> 0;
CREATE INDEX placement_message ON placement (message_id);

-- What views have to read again.  Inserts are found by id, so only changes and departures are noted.
CREATE TABLE touched (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    placement_id INTEGER NOT NULL
) STRICT;

CREATE TRIGGER placement_comes AFTER INSERT ON placement WHEN NEW.view_id IS NOT NULL BEGIN
    UPDATE folder SET total = total + 1, unread = unread + ((NEW.flags & 1) = 0) WHERE id = NEW.view_id;
END;
CREATE TRIGGER placement_changes AFTER UPDATE OF view_id, flags, keywords, pending, message_id, sort ON placement BEGIN
    UPDATE folder SET total = total - 1, unread = unread - ((OLD.flags & 1) = 0) WHERE id = OLD.view_id;
    UPDATE folder SET total = total + 1, unread = unread + ((NEW.flags & 1) = 0) WHERE id = NEW.view_id;
    INSERT INTO touched (placement_id) VALUES (NEW.id);
END;
CREATE TRIGGER placement_goes AFTER DELETE ON placement BEGIN
    UPDATE folder SET total = total - 1, unread = unread - ((OLD.flags & 1) = 0) WHERE id = OLD.view_id;
    INSERT INTO touched (placement_id) VALUES (OLD.id);
END;

-- A batch that is on its way to the server: committed before the first byte is sent, so that
-- after a crash it is looked up there, not blindly sent again.
CREATE TABLE flight (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id  INTEGER NOT NULL,
    kind        TEXT    NOT NULL,                   -- flags | move | delete
    phase       TEXT    NOT NULL DEFAULT '',        -- '' | copied | flagged
    folder_id   INTEGER NOT NULL,
    dest_id     INTEGER NOT NULL DEFAULT 0,
    uidvalidity INTEGER NOT NULL,
    dest_uidnext INTEGER NOT NULL DEFAULT 0,        -- UIDNEXT of the target before: where to look
    items       TEXT    NOT NULL,                   -- JSON [[placement_id, uid]…]
    arg         TEXT    NOT NULL DEFAULT ''         -- JSON, by kind
) STRICT;

-- Wishes that are no state of one message: copies and folder changes, carried out in order.
CREATE TABLE errand (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    account_id  INTEGER NOT NULL,
    kind        TEXT    NOT NULL,                   -- copy | create | rename | delete | subscribe | unsubscribe
    arg         TEXT    NOT NULL,                   -- JSON, by kind
    phase       TEXT    NOT NULL DEFAULT '',
    attempts    INTEGER NOT NULL DEFAULT 0,
    not_before  REAL    NOT NULL DEFAULT 0
) STRICT;

-- What `u` takes back, newest first; survives a restart.
CREATE TABLE undo (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    at          REAL    NOT NULL,
    words       TEXT    NOT NULL,                   -- "archived 3 messages"
    items       TEXT    NOT NULL,                   -- JSON [[placement_id, flags, keywords, view_id]…] as before
    undone      INTEGER NOT NULL DEFAULT 0
) STRICT;

-- What the user should be told once: refusals and other news from the engine.
CREATE TABLE notice (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    at          REAL    NOT NULL,
    account     TEXT    NOT NULL DEFAULT '',
    words       TEXT    NOT NULL                    -- SafeText
) STRICT;

-- POP3: what of a maildrop is known here (sync.md §5.16); a message whose id stands here is never fetched again.
CREATE TABLE maildrop (
    account_id  INTEGER NOT NULL,
    uidl        TEXT    NOT NULL,                   -- the server's unique id; "top:…" where it has none
    ord         INTEGER NOT NULL DEFAULT 0,         -- the n-th of that id in one listing
    message_id  INTEGER NOT NULL,                   -- may be gone: it was deleted here
    first_seen  REAL    NOT NULL,
    whole       INTEGER NOT NULL DEFAULT 0,         -- 0: only its header is here
    deleted     INTEGER NOT NULL DEFAULT 0,         -- 1: the server has confirmed its deletion
    missing     REAL    NOT NULL DEFAULT 0,         -- since when listings lack it; 0: they have it
    PRIMARY KEY (account_id, uidl, ord)
) STRICT, WITHOUT ROWID;
CREATE INDEX maildrop_message ON maildrop (message_id);
