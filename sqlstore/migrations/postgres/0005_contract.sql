-- latchkey 0005. What later capabilities keep: see the comments. It only adds: a program that knows 0001 alone works beside
-- one that knows this. What it inserts has the defaults.

-- The last use of the secret itself, and the address it came from.
ALTER TABLE latchkey_secrets ADD COLUMN used BIGINT;

ALTER TABLE latchkey_secrets ADD COLUMN used_from TEXT COLLATE "C";

-- Of a secret that another system made: signing is 2, so that no program finds it by its digest.
ALTER TABLE latchkey_secrets ADD COLUMN algorithm TEXT COLLATE "C" NOT NULL DEFAULT '';

ALTER TABLE latchkey_secrets ADD COLUMN lookup BYTEA;

ALTER TABLE latchkey_secrets ADD COLUMN hash BYTEA;

CREATE UNIQUE INDEX latchkey_secrets_lookup ON latchkey_secrets (lookup) WHERE lookup IS NOT NULL;

-- When the period of an account is over. NULL: at the end of the month that is its name, or never.
ALTER TABLE latchkey_credits ADD COLUMN ends BIGINT;

CREATE INDEX latchkey_credits_ends ON latchkey_credits (ends, owner, token_id, meter, period) WHERE ends IS NOT NULL;

-- For a chain of hashes.
ALTER TABLE latchkey_events ADD COLUMN prev BYTEA;

ALTER TABLE latchkey_events ADD COLUMN hash BYTEA;

INSERT INTO latchkey_migrations (version, name, oldest) VALUES (5, '0005_contract.sql', 1);
