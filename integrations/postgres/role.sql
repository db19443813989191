-- What "postgres.role" needs in the database that it connects to. A superuser runs
-- this once. Backout gets no right on roles: it may call three functions, for the
-- roles in backout.roles and for no other.
--
--   INSERT INTO backout.roles VALUES ('checkout');
--   GRANT USAGE ON SCHEMA backout TO backout;
--   GRANT EXECUTE ON FUNCTION backout.role_secret, backout.role_history,
--     backout.set_role_secret, backout.end_role_sessions TO backout;
CREATE SCHEMA IF NOT EXISTS backout;
REVOKE ALL ON SCHEMA backout FROM PUBLIC;

CREATE TABLE IF NOT EXISTS backout.roles (name name PRIMARY KEY);

-- Who changed which secret to what version, and when: no secret is in it.
CREATE TABLE IF NOT EXISTS backout.role_changes (
  id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
  name name NOT NULL,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  author name NOT NULL DEFAULT session_user,
  old_version text NOT NULL,
  new_version text NOT NULL,
  new_digest text NOT NULL
);

-- The verifier of a role as its salt, which every client is told that logs in, and a
-- digest; and how many sessions the role has, and how many of them are older than the
-- last change of the role, where the server tracks the time of commits.
CREATE OR REPLACE FUNCTION backout.role_secret(wanted name, OUT salt text, OUT digest text, OUT sessions bigint, OUT older bigint)
RETURNS SETOF record LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT pg_catalog.substring(a.rolpassword, '^SCRAM-SHA-256\$([0-9]+:[A-Za-z0-9+/=]+)\$'),
    pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(coalesce(a.rolpassword, ''), 'UTF8')), 'hex'),
    (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity s WHERE s.usesysid = a.oid),
    CASE WHEN pg_catalog.current_setting('track_commit_timestamp') = 'on' THEN
      (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity s
        WHERE s.usesysid = a.oid AND s.backend_start < pg_catalog.pg_xact_commit_timestamp(a.xmin)) END
  FROM pg_catalog.pg_authid a JOIN backout.roles r ON r.name = a.rolname
  WHERE a.rolname = wanted AND NOT a.rolsuper
$$;

CREATE OR REPLACE FUNCTION backout.role_history(wanted name)
RETURNS SETOF backout.role_changes LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT c.* FROM backout.role_changes c JOIN backout.roles r ON r.name = c.name WHERE c.name = wanted ORDER BY c.id
$$;

-- Sets a verifier if the present one has the expected digest. It takes no password,
-- so that none can be in a log. BO002 says that the digest is another.
CREATE OR REPLACE FUNCTION backout.set_role_secret(wanted name, expected text, verifier text, old_version text, new_version text)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  present text;
BEGIN
  IF verifier !~ '^SCRAM-SHA-256\$[0-9]{4,7}:[A-Za-z0-9+/]{22,}={0,2}\$[A-Za-z0-9+/]{43}=:[A-Za-z0-9+/]{43}=$' THEN
    RAISE invalid_parameter_value;
  END IF;
  SELECT a.rolpassword INTO present FROM pg_catalog.pg_authid a JOIN backout.roles r ON r.name = a.rolname
    WHERE a.rolname = wanted AND NOT a.rolsuper FOR UPDATE OF a;
  IF NOT FOUND THEN
    RAISE insufficient_privilege;
  END IF;
  IF pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(coalesce(present, ''), 'UTF8')), 'hex') <> expected THEN
    RAISE SQLSTATE 'BO002';
  END IF;
  EXECUTE pg_catalog.format('ALTER ROLE %I PASSWORD %L', wanted, verifier);
  INSERT INTO backout.role_changes (name, old_version, new_version, new_digest) VALUES (wanted, old_version, new_version,
    pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(verifier, 'UTF8')), 'hex'));
END
$$;

-- Ends all sessions of a role but the one that asks, and says how many.
CREATE OR REPLACE FUNCTION backout.end_role_sessions(wanted name)
RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT pg_catalog.count(pg_catalog.pg_terminate_backend(s.pid)) FROM pg_catalog.pg_stat_activity s
    JOIN pg_catalog.pg_authid a ON a.oid = s.usesysid JOIN backout.roles r ON r.name = a.rolname
    WHERE a.rolname = wanted AND NOT a.rolsuper AND s.pid <> pg_catalog.pg_backend_pid()
$$;

REVOKE ALL ON FUNCTION backout.role_secret(name), backout.role_history(name), backout.set_role_secret(name, text, text, text, text),
  backout.end_role_sessions(name) FROM PUBLIC;
