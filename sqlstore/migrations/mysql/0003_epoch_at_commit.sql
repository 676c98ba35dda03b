-- latchkey 0003. It changes the tables of PostgreSQL only. Here it keeps the numbers of the engines' migrations in step.

INSERT INTO latchkey_migrations (version, name, oldest) VALUES (3, '0003_epoch_at_commit.sql', 1);
