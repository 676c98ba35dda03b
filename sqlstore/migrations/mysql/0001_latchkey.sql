-- latchkey 0001. Times are microseconds since 1970 in UTC, NULL for none; a column "at" always has one. What latchkey
-- compares is VARBINARY: the collations of text pad with blanks, or fold. Amounts are checked here too, so that no code path
-- can make one negative. Every statement ends with a semicolon at the end of a line, and is one step: MySQL commits each by
-- itself. The column "until" is quoted, for it is a reserved word of TiDB.

CREATE TABLE latchkey_schema (
  version BIGINT         NOT NULL PRIMARY KEY,
  name    VARBINARY(256) NOT NULL
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin ROW_FORMAT=DYNAMIC;

-- One row. floor: change history up to this epoch is incomplete, because it was purged.
CREATE TABLE latchkey_epoch (
  id    BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
  epoch BIGINT NOT NULL CHECK (epoch >= 0),
  floor BIGINT NOT NULL CHECK (floor BETWEEN 0 AND epoch)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin ROW_FORMAT=DYNAMIC;

INSERT INTO latchkey_epoch (id, epoch, floor) VALUES (1, 0, 0);

-- The record is the token, packed; the columns beside it are what queries ask about.
CREATE TABLE latchkey_tokens (
  owner      VARBINARY(256)  NOT NULL,
  id         VARBINARY(256)  NOT NULL,
  version    BIGINT          NOT NULL CHECK (version >= 1),
  kind       SMALLINT        NOT NULL,
  parent     VARBINARY(256)  NOT NULL,
  origin     VARBINARY(256)  NOT NULL,
  name       VARBINARY(1024) NOT NULL,
  client_id  VARBINARY(256)  NOT NULL,
  created    BIGINT,
  not_before BIGINT,
  not_after  BIGINT,
  idle       BIGINT          NOT NULL, -- nanoseconds
  used       BIGINT,
  disabled   SMALLINT        NOT NULL,
  revoked    BIGINT,
  hint       VARBINARY(256)  NOT NULL,
  record     LONGBLOB        NOT NULL,
  PRIMARY KEY (owner, id),
  KEY latchkey_tokens_parent (owner, parent, id),
  KEY latchkey_tokens_client (owner, client_id, id),
  KEY latchkey_tokens_not_after (not_after),
  KEY latchkey_tokens_revoked (revoked),
  KEY latchkey_tokens_idle (idle)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin ROW_FORMAT=DYNAMIC;

-- found: the last use of the token, the secret, and from byte head on a copy of the token's record.
CREATE TABLE latchkey_secrets (
  digest    VARBINARY(32)  NOT NULL PRIMARY KEY CHECK (length(digest) = 32),
  owner     VARBINARY(256) NOT NULL,
  token_id  VARBINARY(256) NOT NULL,
  signing   SMALLINT       NOT NULL,
  not_after BIGINT,
  head      INTEGER        NOT NULL,
  found     LONGBLOB       NOT NULL,
  KEY latchkey_secrets_token (owner, token_id),
  KEY latchkey_secrets_not_after (not_after)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin ROW_FORMAT=DYNAMIC;

CREATE TABLE latchkey_token_roles (
  owner    VARBINARY(256) NOT NULL,
  token_id VARBINARY(256) NOT NULL,
  role_id  VARBINARY(256) NOT NULL,
  PRIMARY KEY (owner, token_id, role_id),
  KEY latchkey_token_roles_role (owner, role_id, token_id)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin ROW_FORMAT=DYNAMIC;

CREATE TABLE latchkey_roles (
  owner          VARBINARY(256)  NOT NULL,
  id             VARBINARY(256)  NOT NULL,
  version        BIGINT          NOT NULL CHECK (version >= 1),
  origin         VARBINARY(256)  NOT NULL,
  name           VARBINARY(1024) NOT NULL,
  inherit_denies SMALLINT        NOT NULL,
  extra          LONGBLOB,
  body           LONGBLOB        NOT NULL, -- JSON: inherits, permissions
  PRIMARY KEY (owner, id),
  UNIQUE (owner, origin, name)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin ROW_FORMAT=DYNAMIC;

CREATE TABLE latchkey_role_inherits (
  owner       VARBINARY(256) NOT NULL,
  role_id     VARBINARY(256) NOT NULL,
  inherits_id VARBINARY(256) NOT NULL,
  PRIMARY KEY (owner, role_id, inherits_id),
  KEY latchkey_role_inherits_inherits (owner, inherits_id, role_id)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin ROW_FORMAT=DYNAMIC;

CREATE TABLE latchkey_owners (
  owner      VARBINARY(256) NOT NULL PRIMARY KEY,
  version    BIGINT         NOT NULL CHECK (version >= 1),
  disabled   SMALLINT       NOT NULL,
  not_before BIGINT,
  boundary   LONGBLOB, -- JSON; NULL: no boundary, which is not the same as an empty one
  extra      LONGBLOB,
  body       LONGBLOB       NOT NULL -- JSON: limits
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin ROW_FORMAT=DYNAMIC;

CREATE TABLE latchkey_clients (
  owner VARBINARY(256)  NOT NULL,
  id    VARBINARY(256)  NOT NULL,
  name  VARBINARY(1024) NOT NULL,
  PRIMARY KEY (owner, id)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin ROW_FORMAT=DYNAMIC;

CREATE TABLE latchkey_changes (
  epoch BIGINT         NOT NULL,
  seq   BIGINT         NOT NULL,
  owner VARBINARY(256) NOT NULL,
  kind  SMALLINT       NOT NULL,
  id    VARBINARY(256) NOT NULL,
  `until` BIGINT,
  at    BIGINT         NOT NULL,
  PRIMARY KEY (epoch, seq),
  KEY latchkey_changes_until (kind, `until`)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin ROW_FORMAT=DYNAMIC;

-- The ids of writes and usage batches that were applied: what makes them idempotent.
CREATE TABLE latchkey_writes (
  owner VARBINARY(256) NOT NULL,
  id    VARBINARY(16)  NOT NULL CHECK (length(id) = 16),
  epoch BIGINT         NOT NULL,
  at    BIGINT         NOT NULL,
  PRIMARY KEY (owner, id),
  KEY latchkey_writes_at (at)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin ROW_FORMAT=DYNAMIC;

CREATE TABLE latchkey_batches (
  id VARBINARY(16) NOT NULL PRIMARY KEY CHECK (length(id) = 16),
  at BIGINT        NOT NULL,
  KEY latchkey_batches_at (at)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin ROW_FORMAT=DYNAMIC;

CREATE TABLE latchkey_events (
  owner  VARBINARY(256)  NOT NULL,
  seq    BIGINT          NOT NULL,
  at     BIGINT          NOT NULL,
  actor  VARBINARY(512)  NOT NULL,
  origin VARBINARY(256)  NOT NULL, -- the network address
  action VARBINARY(256)  NOT NULL,
  object VARBINARY(512)  NOT NULL,
  reason VARBINARY(1024) NOT NULL,
  old    LONGBLOB,
  new    LONGBLOB,
  PRIMARY KEY (owner, seq),
  KEY latchkey_events_at (at)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin ROW_FORMAT=DYNAMIC;

-- The last Seq of each owner. It outlives the events: a Seq is never given twice.
CREATE TABLE latchkey_event_seqs (
  owner VARBINARY(256) NOT NULL PRIMARY KEY,
  seq   BIGINT         NOT NULL
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin ROW_FORMAT=DYNAMIC;

CREATE TABLE latchkey_once (
  owner VARBINARY(256) NOT NULL,
  id    VARBINARY(32)  NOT NULL CHECK (length(id) = 32),
  `until` BIGINT,
  PRIMARY KEY (owner, id),
  KEY latchkey_once_until (`until`)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin ROW_FORMAT=DYNAMIC;

CREATE TABLE latchkey_usage (
  owner     VARBINARY(256)  NOT NULL,
  day       VARBINARY(32)   NOT NULL,
  token_id  VARBINARY(256)  NOT NULL,
  client_id VARBINARY(256)  NOT NULL,
  meter     VARBINARY(256)  NOT NULL,
  endpoint  VARBINARY(1024) NOT NULL,
  count     BIGINT          NOT NULL CHECK (count >= 0),
  credits   BIGINT          NOT NULL CHECK (credits >= 0),
  PRIMARY KEY (owner, day, token_id, client_id, meter, endpoint)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin ROW_FORMAT=DYNAMIC;

CREATE TABLE latchkey_credits (
  owner    VARBINARY(256) NOT NULL,
  token_id VARBINARY(256) NOT NULL,
  meter    VARBINARY(256) NOT NULL,
  period   VARBINARY(64)  NOT NULL,
  used     BIGINT         NOT NULL CHECK (used >= 0),
  PRIMARY KEY (owner, token_id, meter, period),
  KEY latchkey_credits_period (period, owner, token_id, meter)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin ROW_FORMAT=DYNAMIC;

-- actual is NULL until settled. A lapsed one is settled with what was pledged. credit_left is what the answer said.
CREATE TABLE latchkey_reservations (
  owner       VARBINARY(256) NOT NULL,
  id          VARBINARY(16)  NOT NULL CHECK (length(id) = 16),
  amount      BIGINT         NOT NULL CHECK (amount > 0),
  pledged     BIGINT         NOT NULL CHECK (pledged BETWEEN 0 AND amount),
  actual      BIGINT         CHECK (actual BETWEEN 0 AND amount),
  credit_left BIGINT         NOT NULL CHECK (credit_left >= 0),
  `until`     BIGINT,
  lapsed      SMALLINT       NOT NULL,
  body        LONGBLOB       NOT NULL, -- JSON: the accounts, sorted
  PRIMARY KEY (owner, id),
  KEY latchkey_reservations_until (`until`),
  KEY latchkey_reservations_open (actual, `until`)
) ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin ROW_FORMAT=DYNAMIC;

INSERT INTO latchkey_schema (version, name) VALUES (1, '0001_latchkey.sql');
