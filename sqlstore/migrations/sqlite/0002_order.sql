-- latchkey 0002. An order of tokens and of an owner's mass revocations that no clock takes part in. It only adds: a program
-- that knows 0001 alone works beside one that knows this. What it inserts has the defaults.

-- The migrations from 0002 on. oldest: how many migrations a program must know to use the schema as it is after this one.
-- A migration with which earlier programs could not work lists itself, and those before it, in latchkey_schema too: what
-- the first program looks at.
CREATE TABLE latchkey_migrations (
  version INTEGER NOT NULL PRIMARY KEY,
  name    TEXT    NOT NULL,
  oldest  INTEGER NOT NULL
) STRICT;

-- The version that the owner's record had when the token was inserted.
ALTER TABLE latchkey_tokens ADD COLUMN owner_version INTEGER NOT NULL DEFAULT 0;

-- The same once more, beside the copy of the token's record.
ALTER TABLE latchkey_secrets ADD COLUMN owner_version INTEGER NOT NULL DEFAULT 0;

-- Tokens with a lower owner_version are dead.
ALTER TABLE latchkey_owners ADD COLUMN since INTEGER NOT NULL DEFAULT 0;

INSERT INTO latchkey_migrations (version, name, oldest) VALUES (2, '0002_order.sql', 1);
