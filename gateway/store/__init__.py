"""All SQL, and what keeps it: the server, the pool, migrations, one module a family of tables, the journal."""
