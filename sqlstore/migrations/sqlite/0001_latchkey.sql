-- latchkey 0001. Times are microseconds since 1970 in UTC, NULL for none; a column "at" always has one. Text compares as
-- bytes. Amounts are checked here too, so that no code path can make one negative; lengths are not where many rows are
-- inserted at once, for a CHECK that calls a function makes SQLite note how to undo each. Every statement ends with a
-- semicolon at the end of a line.

CREATE TABLE latchkey_schema (
  version INTEGER NOT NULL PRIMARY KEY,
  name    TEXT    NOT NULL
) STRICT;

-- One row. floor: change history up to this epoch is incomplete, because it was purged.
CREATE TABLE latchkey_epoch (
  id    INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
  epoch INTEGER NOT NULL CHECK (epoch >= 0),
  floor INTEGER NOT NULL CHECK (floor BETWEEN 0 AND epoch)
) STRICT;

INSERT INTO latchkey_epoch (id, epoch, floor) VALUES (1, 0, 0);

-- The record is the token, packed; the columns beside it are what queries ask about.
CREATE TABLE latchkey_tokens (
  owner      TEXT    NOT NULL,
  id         TEXT    NOT NULL,
  version    INTEGER NOT NULL CHECK (version >= 1),
  kind       INTEGER NOT NULL,
  parent     TEXT    NOT NULL,
  origin     TEXT    NOT NULL,
  name       TEXT    NOT NULL,
  client_id  TEXT    NOT NULL,
  created    INTEGER,
  not_before INTEGER,
  not_after  INTEGER,
  idle       INTEGER NOT NULL, -- nanoseconds
  used       INTEGER,
  disabled   INTEGER NOT NULL,
  revoked    INTEGER,
  hint       TEXT    NOT NULL,
  record     BLOB    NOT NULL,
  PRIMARY KEY (owner, id)
) STRICT;

CREATE INDEX latchkey_tokens_parent ON latchkey_tokens (owner, parent, id) WHERE parent <> '';
CREATE INDEX latchkey_tokens_client ON latchkey_tokens (owner, client_id, id) WHERE client_id <> '';
CREATE INDEX latchkey_tokens_not_after ON latchkey_tokens (not_after) WHERE not_after IS NOT NULL;
CREATE INDEX latchkey_tokens_revoked ON latchkey_tokens (revoked) WHERE revoked IS NOT NULL;
CREATE INDEX latchkey_tokens_idle ON latchkey_tokens (idle) WHERE idle > 0;

-- found: the last use of the token, the secret, and from byte head on a copy of the token's record.
CREATE TABLE latchkey_secrets (
  digest    BLOB    NOT NULL PRIMARY KEY,
  owner     TEXT    NOT NULL,
  token_id  TEXT    NOT NULL,
  signing   INTEGER NOT NULL,
  not_after INTEGER,
  head      INTEGER NOT NULL,
  found     BLOB    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX latchkey_secrets_token ON latchkey_secrets (owner, token_id);
CREATE INDEX latchkey_secrets_not_after ON latchkey_secrets (not_after) WHERE not_after IS NOT NULL;

CREATE TABLE latchkey_token_roles (
  owner    TEXT NOT NULL,
  token_id TEXT NOT NULL,
  role_id  TEXT NOT NULL,
  PRIMARY KEY (owner, token_id, role_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX latchkey_token_roles_role ON latchkey_token_roles (owner, role_id, token_id);

CREATE TABLE latchkey_roles (
  owner          TEXT    NOT NULL,
  id             TEXT    NOT NULL,
  version        INTEGER NOT NULL CHECK (version >= 1),
  origin         TEXT    NOT NULL,
  name           TEXT    NOT NULL,
  inherit_denies INTEGER NOT NULL,
  extra          BLOB,
  body           BLOB    NOT NULL, -- JSON: inherits, permissions
  PRIMARY KEY (owner, id),
  UNIQUE (owner, origin, name)
) STRICT;

CREATE TABLE latchkey_role_inherits (
  owner       TEXT NOT NULL,
  role_id     TEXT NOT NULL,
  inherits_id TEXT NOT NULL,
  PRIMARY KEY (owner, role_id, inherits_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX latchkey_role_inherits_inherits ON latchkey_role_inherits (owner, inherits_id, role_id);

CREATE TABLE latchkey_owners (
  owner      TEXT    NOT NULL PRIMARY KEY,
  version    INTEGER NOT NULL CHECK (version >= 1),
  disabled   INTEGER NOT NULL,
  not_before INTEGER,
  boundary   BLOB, -- JSON; NULL: no boundary, which is not the same as an empty one
  extra      BLOB,
  body       BLOB    NOT NULL -- JSON: limits
) STRICT, WITHOUT ROWID;

CREATE TABLE latchkey_clients (
  owner TEXT NOT NULL,
  id    TEXT NOT NULL,
  name  TEXT NOT NULL,
  PRIMARY KEY (owner, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE latchkey_changes (
  epoch INTEGER NOT NULL,
  seq   INTEGER NOT NULL,
  owner TEXT    NOT NULL,
  kind  INTEGER NOT NULL,
  id    TEXT    NOT NULL,
  until INTEGER,
  at    INTEGER NOT NULL,
  PRIMARY KEY (epoch, seq)
) STRICT, WITHOUT ROWID;

CREATE INDEX latchkey_changes_until ON latchkey_changes (until) WHERE kind = 4;

-- The ids of writes and usage batches that were applied: what makes them idempotent.
CREATE TABLE latchkey_writes (
  owner TEXT    NOT NULL,
  id    BLOB    NOT NULL,
  epoch INTEGER NOT NULL,
  at    INTEGER NOT NULL,
  PRIMARY KEY (owner, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX latchkey_writes_at ON latchkey_writes (at);

CREATE TABLE latchkey_batches (
  id BLOB NOT NULL PRIMARY KEY CHECK (length(id) = 16),
  at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX latchkey_batches_at ON latchkey_batches (at);

CREATE TABLE latchkey_events (
  owner  TEXT    NOT NULL,
  seq    INTEGER NOT NULL,
  at     INTEGER NOT NULL,
  actor  TEXT    NOT NULL,
  origin TEXT    NOT NULL, -- the network address
  action TEXT    NOT NULL,
  object TEXT    NOT NULL,
  reason TEXT    NOT NULL,
  old    BLOB,
  new    BLOB,
  PRIMARY KEY (owner, seq)
) STRICT;

-- The last Seq of each owner. It outlives the events: a Seq is never given twice.
CREATE TABLE latchkey_event_seqs (
  owner TEXT    NOT NULL PRIMARY KEY,
  seq   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX latchkey_events_at ON latchkey_events (at);

CREATE TABLE latchkey_once (
  owner TEXT    NOT NULL,
  id    BLOB    NOT NULL CHECK (length(id) = 32),
  until INTEGER,
  PRIMARY KEY (owner, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX latchkey_once_until ON latchkey_once (until);

CREATE TABLE latchkey_usage (
  owner     TEXT    NOT NULL,
  day       TEXT    NOT NULL,
  token_id  TEXT    NOT NULL,
  client_id TEXT    NOT NULL,
  meter     TEXT    NOT NULL,
  endpoint  TEXT    NOT NULL,
  count     INTEGER NOT NULL CHECK (count >= 0),
  credits   INTEGER NOT NULL CHECK (credits >= 0),
  PRIMARY KEY (owner, day, token_id, client_id, meter, endpoint)
) STRICT, WITHOUT ROWID;

CREATE TABLE latchkey_credits (
  owner    TEXT    NOT NULL,
  token_id TEXT    NOT NULL,
  meter    TEXT    NOT NULL,
  period   TEXT    NOT NULL,
  used     INTEGER NOT NULL CHECK (used >= 0),
  PRIMARY KEY (owner, token_id, meter, period)
) STRICT, WITHOUT ROWID;

CREATE INDEX latchkey_credits_period ON latchkey_credits (period, owner, token_id, meter);

-- actual is NULL until settled. A lapsed one is settled with what was pledged. credit_left is what the answer said.
CREATE TABLE latchkey_reservations (
  owner       TEXT    NOT NULL,
  id          BLOB    NOT NULL CHECK (length(id) = 16),
  amount      INTEGER NOT NULL CHECK (amount > 0),
  pledged     INTEGER NOT NULL CHECK (pledged BETWEEN 0 AND amount),
  actual      INTEGER CHECK (actual BETWEEN 0 AND amount),
  credit_left INTEGER NOT NULL CHECK (credit_left >= 0),
  until       INTEGER,
  lapsed      INTEGER NOT NULL,
  body        BLOB    NOT NULL, -- JSON: the accounts, sorted
  PRIMARY KEY (owner, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX latchkey_reservations_until ON latchkey_reservations (until);
CREATE INDEX latchkey_reservations_open ON latchkey_reservations (actual, until) WHERE actual IS NULL;

INSERT INTO latchkey_schema (version, name) VALUES (1, '0001_latchkey.sql');
