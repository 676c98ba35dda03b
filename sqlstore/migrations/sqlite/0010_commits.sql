-- latchkey 0010. It changes the tables of PostgreSQL only. Here it keeps the numbers of the engines' migrations in step.

INSERT INTO latchkey_migrations (version, name, oldest) VALUES (10, '0010_commits.sql', 1);
