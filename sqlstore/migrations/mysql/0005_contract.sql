-- latchkey 0005. What later capabilities keep: see the comments. It only adds: a program that knows 0001 alone works beside
-- one that knows this. What it inserts has the defaults.

-- The last use of the secret itself, and the address it came from.
ALTER TABLE latchkey_secrets ADD COLUMN used BIGINT;

ALTER TABLE latchkey_secrets ADD COLUMN used_from VARBINARY(64);

-- Of a secret that another system made: signing is 2, so that no program finds it by its digest.
ALTER TABLE latchkey_secrets ADD COLUMN algorithm VARBINARY(64) NOT NULL DEFAULT '';

ALTER TABLE latchkey_secrets ADD COLUMN lookup VARBINARY(256);

ALTER TABLE latchkey_secrets ADD COLUMN hash VARBINARY(1024);

CREATE UNIQUE INDEX latchkey_secrets_lookup ON latchkey_secrets (lookup);

-- When the period of an account is over. NULL: at the end of the month that is its name, or never.
ALTER TABLE latchkey_credits ADD COLUMN ends BIGINT;

CREATE INDEX latchkey_credits_ends ON latchkey_credits (ends);

-- For a chain of hashes.
ALTER TABLE latchkey_events ADD COLUMN prev VARBINARY(64);

ALTER TABLE latchkey_events ADD COLUMN hash VARBINARY(64);

-- Room for the id of a client, and what a revocation of all its tokens says beside it.
ALTER TABLE latchkey_changes MODIFY COLUMN id VARBINARY(512) NOT NULL;

INSERT INTO latchkey_migrations (version, name, oldest) VALUES (5, '0005_contract.sql', 1);
