package postgres

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/backout/backout/integrations/driver"
)

const (
	// maxSection bounds the schema of a dump, which is sent as two messages, in bytes.
	maxSection = 64 << 20
	// maxLine bounds a line between the rows of a dump, in bytes.
	maxLine = 1 << 20
)

// copy makes a database from a dump, checks it, and says on it that it is complete.
// What an earlier attempt left behind is dropped first.
func (i restores) copy(ctx context.Context, c *session, r Restore, present *database, leftover bool, d *dump, sum string) error {
	name := r.copyName(sum)
	create, err := c.creation(ctx, name, present)
	if err != nil {
		return err
	}
	commands := []string{"SET ROLE " + quoteName(r.Owner)}
	if leftover {
		commands = append(commands, "DROP DATABASE "+quoteName(name)+" WITH (FORCE)")
	}
	for _, command := range append(commands, create) {
		if _, err := c.run(ctx, command); err != nil {
			return fmt.Errorf("create copy: %w", err)
		}
	}
	if err := i.server.connect(ctx, name, func(t *session) error { return r.load(ctx, t, d) }); err != nil {
		return err
	}
	again, err := d.sum()
	if err != nil {
		return err
	}
	if again != sum {
		return fmt.Errorf("copy dump %q: the file changed meanwhile", d.name)
	}
	if _, err := c.run(ctx, r.completion(present, name, fmt.Sprintf(verified, d.name, sum))); err != nil {
		return fmt.Errorf("complete copy: %w", err)
	}
	return nil
}

// creation is the command that makes an empty database like another one.
func (c *session) creation(ctx context.Context, name string, like *database) (string, error) {
	rows, err := c.query(ctx, `SELECT pg_catalog.pg_encoding_to_char(d.encoding), d.datcollate, d.datctype, j->>'datlocprovider', coalesce(j->>'datlocale', j->>'daticulocale'), d.datconnlimit::text
		FROM pg_catalog.pg_database d, LATERAL (SELECT pg_catalog.to_jsonb(d) AS j) AS x WHERE d.oid = $1::oid`, fmt.Sprint(like.oid))
	if err != nil {
		return "", err
	}
	if len(rows) == 0 {
		return "", errMoved
	}
	is := rows[0]
	command := fmt.Sprintf("CREATE DATABASE %s TEMPLATE template0 ENCODING %s LC_COLLATE %s LC_CTYPE %s CONNECTION LIMIT %s",
		quoteName(name), quoteText(is[0].text), quoteText(is[1].text), quoteText(is[2].text), is[5].text)
	switch is[3].text {
	case "i":
		command += " LOCALE_PROVIDER icu ICU_LOCALE " + quoteText(is[4].text)
	case "b":
		command += " LOCALE_PROVIDER builtin BUILTIN_LOCALE " + quoteText(is[4].text)
	}
	return command, nil
}

// completion gives a copy the rights and settings of the original, and then its
// comment.
func (r Restore) completion(like *database, name, comment string) string {
	rights := fmt.Sprintf(`DECLARE a record; BEGIN
REVOKE ALL ON DATABASE %[1]s FROM PUBLIC;
FOR a IN SELECT x.* , d.datdba FROM pg_catalog.pg_database d, pg_catalog.aclexplode(coalesce(d.datacl, pg_catalog.acldefault('d', d.datdba))) x WHERE d.oid = %[2]d LOOP
  IF a.grantee <> a.datdba THEN
    EXECUTE pg_catalog.format('GRANT %%s ON DATABASE %%I TO %%s%%s', a.privilege_type, %[3]s,
      CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END,
      CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END);
  END IF;
END LOOP; END`, quoteName(name), like.oid, quoteText(name))
	settings := fmt.Sprintf(`DECLARE s record; BEGIN
FOR s IN SELECT pg_catalog.split_part(c, '=', 1) AS name, pg_catalog.substr(c, pg_catalog.strpos(c, '=') + 1) AS value
  FROM pg_catalog.pg_db_role_setting, pg_catalog.unnest(setconfig) c WHERE setdatabase = %d AND setrole = 0 LOOP
  PERFORM pg_catalog.set_config(s.name, s.value, true);
  EXECUTE pg_catalog.format('ALTER DATABASE %%I SET %%s FROM CURRENT', %s,
    (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(p), '.') FROM pg_catalog.unnest(pg_catalog.string_to_array(s.name, '.')) p));
END LOOP; END`, like.oid, quoteText(name))
	return strings.Join(slices.Concat(r.begin(), []string{
		"DO " + quoteText(rights), "DO " + quoteText(settings), "COMMENT ON DATABASE " + quoteName(name) + " IS " + quoteText(comment), "COMMIT",
	}), ";\n")
}

// load fills an empty database and checks it. All rows have to arrive.
func (r Restore) load(ctx context.Context, t *session, d *dump) error {
	for _, section := range []string{"pre-data", "data", "post-data"} {
		if section == "data" {
			if err := r.loadRows(ctx, t, d); err != nil {
				return fmt.Errorf("restore rows of %q: %w", d.name, err)
			}
			continue
		}
		script, err := r.section(ctx, d, section)
		if err != nil {
			return fmt.Errorf("read dump %q: %w", d.name, err)
		}
		if _, err := t.run(ctx, "SET ROLE "+quoteName(r.Owner)+";\n"+script); err != nil {
			return fmt.Errorf("restore schema of %q: %w", d.name, err)
		}
	}
	if r.Check == "" {
		return nil
	}
	if _, err := t.run(ctx, "RESET ALL;\nSET ROLE "+quoteName(r.Owner)+";\nSET default_transaction_read_only = on"); err != nil {
		return fmt.Errorf("check copy: %w", err)
	}
	rows, err := t.ask(ctx, r.Check)
	if err != nil {
		return fmt.Errorf("check copy: %w", err)
	}
	if len(rows) != 1 || len(rows[0]) != 1 || !rows[0][0].yes() {
		return fmt.Errorf("check copy of %q: %w: the check of the settings does not hold", d.name, driver.ErrInvalid)
	}
	return nil
}

// arguments of pg_restore, which only writes SQL. Roles, publications and
// subscriptions are not of the database alone.
func arguments(section string) []string {
	return []string{"--section=" + section, "--no-owner", "--no-publications", "--no-subscriptions", "--file=-"}
}

// section is a part of a dump without rows, as SQL.
func (r Restore) section(ctx context.Context, d *dump, section string) (string, error) {
	cmd, err := r.command(ctx, d, arguments(section)...)
	if err != nil {
		return "", err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", fmt.Errorf("run pg_restore: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return "", fmt.Errorf("run pg_restore: %w", err)
	}
	text, errRead := io.ReadAll(io.LimitReader(out, maxSection+1))
	if len(text) > maxSection {
		_ = cmd.Process.Kill() // It would wait for a reader.
	}
	if err := cmd.Wait(); err != nil && len(text) <= maxSection {
		return "", ended(err)
	}
	switch {
	case errRead != nil:
		return "", fmt.Errorf("run pg_restore: %w", errRead)
	case len(text) > maxSection:
		return "", fmt.Errorf("%w: its schema has more than %d bytes", driver.ErrInvalid, maxSection)
	}
	return unframed(string(text)), nil
}

// unframed takes off what only psql understands, and the one setting that servers
// before version 17 do not know.
// Source: https://www.postgresql.org/docs/current/app-psql.html, \restrict.
func unframed(script string) string {
	var head strings.Builder
	rest := script
	for rest != "" {
		line, after, _ := strings.Cut(rest, "\n")
		framing := strings.HasPrefix(line, `\restrict `)
		switch {
		case framing:
			key := strings.TrimPrefix(line, `\restrict `)
			if at := strings.LastIndex(after, "\n\\unrestrict "+key); at >= 0 {
				after = after[:at+1]
			}
		case line == "SET transaction_timeout = 0;":
		case line == "", strings.HasPrefix(line, "--"), strings.HasPrefix(line, "SET "), strings.HasPrefix(line, "SELECT pg_catalog.set_config("):
			head.WriteString(line + "\n")
		default:
			return head.String() + rest
		}
		rest = after
	}
	return head.String()
}

// loadRows streams the rows of a dump into the copy.
func (r Restore) loadRows(ctx context.Context, t *session, d *dump) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // The program ends where its rows are no longer wanted.
	cmd, err := r.command(ctx, d, arguments("data")...)
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("run pg_restore: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("run pg_restore: %w", err)
	}
	if err := t.replay(ctx, bufio.NewReaderSize(out, maxLine)); err != nil {
		cancel()
		_ = cmd.Wait() // It was told to end.
		return err
	}
	if err := cmd.Wait(); err != nil {
		return ended(err)
	}
	return nil
}

// replay runs the section of a script that has the rows: blocks of rows, with
// settings, sequences and large objects between them.
func (c *session) replay(ctx context.Context, script *bufio.Reader) error {
	var between bytes.Buffer
	flush := func() error {
		defer between.Reset()
		if between.Len() == 0 {
			return nil
		}
		_, err := c.run(ctx, between.String())
		return err
	}
	for {
		line, err := script.ReadString('\n')
		ends := errors.Is(err, io.EOF)
		switch {
		case err != nil && !ends:
			return fmt.Errorf("run pg_restore: %w", err)
		case between.Len()+len(line) > maxSection:
			return fmt.Errorf("%w: it has rows in another form than COPY", driver.ErrInvalid)
		case strings.TrimSpace(line) == "", strings.HasPrefix(line, "--"), line == "SET transaction_timeout = 0;\n":
		case strings.HasPrefix(line, `\restrict `), strings.HasPrefix(line, `\unrestrict `):
		case strings.HasPrefix(line, "COPY ") && strings.HasSuffix(line, " FROM stdin;\n"):
			if err := flush(); err != nil {
				return err
			}
			if err := c.copyIn(ctx, script, line); err != nil {
				return err
			}
		default:
			between.WriteString(line)
		}
		if ends {
			return flush()
		}
	}
}

// copyIn sends one block of rows, all of which have to arrive.
func (c *session) copyIn(ctx context.Context, script *bufio.Reader, command string) error {
	block := &rowBlock{script: script}
	tag, err := c.conn.CopyFrom(ctx, block, command)
	if err != nil {
		var answer *pgconn.PgError
		if block.err != nil && !errors.As(err, &answer) {
			return fmt.Errorf("run pg_restore: %w", block.err)
		}
		return refusal(err)
	}
	if tag.RowsAffected() != block.rows {
		return fmt.Errorf("copy rows: %d of %d arrived", tag.RowsAffected(), block.rows)
	}
	return nil
}

// rowBlock reads rows up to the line that ends them.
type rowBlock struct {
	script *bufio.Reader
	// rest is what was read and not passed on; within says that it is in the middle of
	// a row, which may be longer than the buffer.
	rest   []byte
	within bool
	ended  bool
	rows   int64
	// err is what ended the block too early.
	err error
}

// Read passes rows on.
func (b *rowBlock) Read(p []byte) (int, error) {
	if b.ended {
		return 0, io.EOF
	}
	if len(b.rest) == 0 {
		part, err := b.script.ReadSlice('\n')
		switch {
		case err == nil && !b.within && string(part) == "\\.\n":
			b.ended = true
			return 0, io.EOF
		case err == nil:
			b.within = false
			b.rows++
		case errors.Is(err, bufio.ErrBufferFull):
			b.within = true
		case errors.Is(err, io.EOF):
			b.err = io.ErrUnexpectedEOF
			return 0, b.err
		default:
			b.err = err
			return 0, err
		}
		b.rest = part
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}
