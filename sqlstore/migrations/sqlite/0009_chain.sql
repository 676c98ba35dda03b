-- latchkey 0009. The chain of the audit trail. It only adds: a program that knows 0001 alone works beside one that knows
-- this. It leaves head as it is, and the events that it writes are outside the chain.

-- What the next event of the owner follows: the number and the hash of the last event of the chain.
ALTER TABLE latchkey_event_seqs ADD COLUMN head BLOB;

INSERT INTO latchkey_migrations (version, name, oldest) VALUES (9, '0009_chain.sql', 1);
