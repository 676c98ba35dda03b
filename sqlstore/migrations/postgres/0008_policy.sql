-- latchkey 0008. How many tokens live, for owners with a policy that bounds it. It only adds: programs of earlier versions
-- cannot read the record of such an owner, and refuse its tokens.

-- live: how many of the tokens with this parent ('' for issued ones) lived when they were counted, and those that were
-- inserted since. owner_version: of the owner's record then. oldest: none with a lower id lives.
CREATE TABLE latchkey_live (
  owner         TEXT COLLATE "C" NOT NULL,
  parent        TEXT COLLATE "C" NOT NULL,
  live          BIGINT           NOT NULL CHECK (live >= 0),
  owner_version BIGINT           NOT NULL,
  oldest        TEXT COLLATE "C" NOT NULL,
  PRIMARY KEY (owner, parent)
);

-- Issued tokens are counted by it. Minted ones are not in it.
CREATE INDEX latchkey_tokens_issued ON latchkey_tokens (owner, id) WHERE parent = '';

INSERT INTO latchkey_migrations (version, name, oldest) VALUES (8, '0008_policy.sql', 1);
