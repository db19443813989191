-- What "postgres.restore" needs in the database that it connects to, which is not the
-- one that is restored. A superuser runs this once.
--
--   GRANT USAGE ON SCHEMA backout TO backout;
--   GRANT SELECT, INSERT ON backout.restores TO backout;
--   GRANT <owner of the database> TO backout;
--   ALTER ROLE <owner of the database> CREATEDB;
--   GRANT pg_signal_backend TO <owner of the database>;
CREATE SCHEMA IF NOT EXISTS backout;
REVOKE ALL ON SCHEMA backout FROM PUBLIC;

-- Which database was put in the place of which other one, and when.
CREATE TABLE IF NOT EXISTS backout.restores (
  id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  database name NOT NULL,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  author name NOT NULL DEFAULT session_user,
  old_oid oid NOT NULL,
  old_revision text NOT NULL,
  new_oid oid NOT NULL,
  new_revision text NOT NULL
);
