-- latchkey 0001. Times are microseconds since 1970 in UTC, NULL for none; a column "at" always has one. Text compares as
-- bytes, whatever the database's collation. Amounts are checked here too, so that no code path can make one negative.
-- Every statement ends with a semicolon at the end of a line.

CREATE TABLE latchkey_schema (
  version BIGINT           NOT NULL PRIMARY KEY,
  name    TEXT COLLATE "C" NOT NULL
);

-- One row. floor: change history up to this epoch is incomplete, because it was purged. Pages are left mostly empty, so that
-- each change finds room beside the row it replaces, and no index is touched.
CREATE TABLE latchkey_epoch (
  id    BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
  epoch BIGINT NOT NULL CHECK (epoch >= 0),
  floor BIGINT NOT NULL CHECK (floor BETWEEN 0 AND epoch)
) WITH (fillfactor = 10);

INSERT INTO latchkey_epoch (id, epoch, floor) VALUES (1, 0, 0);

-- The record is the token, packed; the columns beside it are what queries ask about.
CREATE TABLE latchkey_tokens (
  owner      TEXT COLLATE "C" NOT NULL,
  id         TEXT COLLATE "C" NOT NULL,
  version    BIGINT           NOT NULL CHECK (version >= 1),
  kind       SMALLINT         NOT NULL,
  parent     TEXT COLLATE "C" NOT NULL,
  origin     TEXT COLLATE "C" NOT NULL,
  name       TEXT COLLATE "C" NOT NULL,
  client_id  TEXT COLLATE "C" NOT NULL,
  created    BIGINT,
  not_before BIGINT,
  not_after  BIGINT,
  idle       BIGINT           NOT NULL, -- nanoseconds
  used       BIGINT,
  disabled   SMALLINT         NOT NULL,
  revoked    BIGINT,
  hint       TEXT COLLATE "C" NOT NULL,
  record     BYTEA            NOT NULL,
  PRIMARY KEY (owner, id)
);

CREATE INDEX latchkey_tokens_parent ON latchkey_tokens (owner, parent, id) WHERE parent <> '';
CREATE INDEX latchkey_tokens_client ON latchkey_tokens (owner, client_id, id) WHERE client_id <> '';
CREATE INDEX latchkey_tokens_not_after ON latchkey_tokens (not_after) WHERE not_after IS NOT NULL;
CREATE INDEX latchkey_tokens_revoked ON latchkey_tokens (revoked) WHERE revoked IS NOT NULL;
CREATE INDEX latchkey_tokens_idle ON latchkey_tokens (idle) WHERE idle > 0;

-- found: the last use of the token, the secret, and from byte head on a copy of the token's record.
CREATE TABLE latchkey_secrets (
  digest    BYTEA            NOT NULL PRIMARY KEY CHECK (length(digest) = 32),
  owner     TEXT COLLATE "C" NOT NULL,
  token_id  TEXT COLLATE "C" NOT NULL,
  signing   SMALLINT         NOT NULL,
  not_after BIGINT,
  head      INTEGER          NOT NULL,
  found     BYTEA            NOT NULL
);

CREATE INDEX latchkey_secrets_token ON latchkey_secrets (owner, token_id);
CREATE INDEX latchkey_secrets_not_after ON latchkey_secrets (not_after) WHERE not_after IS NOT NULL;

CREATE TABLE latchkey_token_roles (
  owner    TEXT COLLATE "C" NOT NULL,
  token_id TEXT COLLATE "C" NOT NULL,
  role_id  TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (owner, token_id, role_id)
);

CREATE INDEX latchkey_token_roles_role ON latchkey_token_roles (owner, role_id, token_id);

CREATE TABLE latchkey_roles (
  owner          TEXT COLLATE "C" NOT NULL,
  id             TEXT COLLATE "C" NOT NULL,
  version        BIGINT           NOT NULL CHECK (version >= 1),
  origin         TEXT COLLATE "C" NOT NULL,
  name           TEXT COLLATE "C" NOT NULL,
  inherit_denies SMALLINT         NOT NULL,
  extra          BYTEA,
  body           BYTEA            NOT NULL, -- JSON: inherits, permissions
  PRIMARY KEY (owner, id),
  UNIQUE (owner, origin, name)
);

CREATE TABLE latchkey_role_inherits (
  owner       TEXT COLLATE "C" NOT NULL,
  role_id     TEXT COLLATE "C" NOT NULL,
  inherits_id TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (owner, role_id, inherits_id)
);

CREATE INDEX latchkey_role_inherits_inherits ON latchkey_role_inherits (owner, inherits_id, role_id);

CREATE TABLE latchkey_owners (
  owner      TEXT COLLATE "C" NOT NULL PRIMARY KEY,
  version    BIGINT           NOT NULL CHECK (version >= 1),
  disabled   SMALLINT         NOT NULL,
  not_before BIGINT,
  boundary   BYTEA, -- JSON; NULL: no boundary, which is not the same as an empty one
  extra      BYTEA,
  body       BYTEA            NOT NULL -- JSON: limits
);

CREATE TABLE latchkey_clients (
  owner TEXT COLLATE "C" NOT NULL,
  id    TEXT COLLATE "C" NOT NULL,
  name  TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (owner, id)
);

CREATE TABLE latchkey_changes (
  epoch BIGINT           NOT NULL,
  seq   BIGINT           NOT NULL,
  owner TEXT COLLATE "C" NOT NULL,
  kind  SMALLINT         NOT NULL,
  id    TEXT COLLATE "C" NOT NULL,
  until BIGINT,
  at    BIGINT           NOT NULL,
  PRIMARY KEY (epoch, seq)
);

CREATE INDEX latchkey_changes_until ON latchkey_changes (until) WHERE kind = 4;

-- The ids of writes and usage batches that were applied: what makes them idempotent.
CREATE TABLE latchkey_writes (
  owner TEXT COLLATE "C" NOT NULL,
  id    BYTEA            NOT NULL CHECK (length(id) = 16),
  epoch BIGINT           NOT NULL,
  at    BIGINT           NOT NULL,
  PRIMARY KEY (owner, id)
);

CREATE INDEX latchkey_writes_at ON latchkey_writes (at);

CREATE TABLE latchkey_batches (
  id BYTEA  NOT NULL PRIMARY KEY CHECK (length(id) = 16),
  at BIGINT NOT NULL
);

CREATE INDEX latchkey_batches_at ON latchkey_batches (at);

CREATE TABLE latchkey_events (
  owner  TEXT COLLATE "C" NOT NULL,
  seq    BIGINT           NOT NULL,
  at     BIGINT           NOT NULL,
  actor  TEXT COLLATE "C" NOT NULL,
  origin TEXT COLLATE "C" NOT NULL, -- the network address
  action TEXT COLLATE "C" NOT NULL,
  object TEXT COLLATE "C" NOT NULL,
  reason TEXT COLLATE "C" NOT NULL,
  old    BYTEA,
  new    BYTEA,
  PRIMARY KEY (owner, seq)
);

-- The last Seq of each owner. It outlives the events: a Seq is never given twice.
CREATE TABLE latchkey_event_seqs (
  owner TEXT COLLATE "C" NOT NULL PRIMARY KEY,
  seq   BIGINT           NOT NULL
);

CREATE INDEX latchkey_events_at ON latchkey_events (at);

CREATE TABLE latchkey_once (
  owner TEXT COLLATE "C" NOT NULL,
  id    BYTEA            NOT NULL CHECK (length(id) = 32),
  until BIGINT,
  PRIMARY KEY (owner, id)
);

CREATE INDEX latchkey_once_until ON latchkey_once (until);

CREATE TABLE latchkey_usage (
  owner     TEXT COLLATE "C" NOT NULL,
  day       TEXT COLLATE "C" NOT NULL,
  token_id  TEXT COLLATE "C" NOT NULL,
  client_id TEXT COLLATE "C" NOT NULL,
  meter     TEXT COLLATE "C" NOT NULL,
  endpoint  TEXT COLLATE "C" NOT NULL,
  count     BIGINT           NOT NULL CHECK (count >= 0),
  credits   BIGINT           NOT NULL CHECK (credits >= 0),
  PRIMARY KEY (owner, day, token_id, client_id, meter, endpoint)
);

CREATE TABLE latchkey_credits (
  owner    TEXT COLLATE "C" NOT NULL,
  token_id TEXT COLLATE "C" NOT NULL,
  meter    TEXT COLLATE "C" NOT NULL,
  period   TEXT COLLATE "C" NOT NULL,
  used     BIGINT           NOT NULL CHECK (used >= 0),
  PRIMARY KEY (owner, token_id, meter, period)
);

CREATE INDEX latchkey_credits_period ON latchkey_credits (period, owner, token_id, meter);

-- actual is NULL until settled. A lapsed one is settled with what was pledged. credit_left is what the answer said.
CREATE TABLE latchkey_reservations (
  owner       TEXT COLLATE "C" NOT NULL,
  id          BYTEA            NOT NULL CHECK (length(id) = 16),
  amount      BIGINT           NOT NULL CHECK (amount > 0),
  pledged     BIGINT           NOT NULL CHECK (pledged BETWEEN 0 AND amount),
  actual      BIGINT           CHECK (actual BETWEEN 0 AND amount),
  credit_left BIGINT           NOT NULL CHECK (credit_left >= 0),
  until       BIGINT,
  lapsed      SMALLINT         NOT NULL,
  body        BYTEA            NOT NULL, -- JSON: the accounts, sorted
  PRIMARY KEY (owner, id)
);

CREATE INDEX latchkey_reservations_until ON latchkey_reservations (until);
CREATE INDEX latchkey_reservations_open ON latchkey_reservations (actual, until) WHERE actual IS NULL;

INSERT INTO latchkey_schema (version, name) VALUES (1, '0001_latchkey.sql');
