package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/backout/backout/integrations/driver"
)

// systemType is the name of the system type in the configuration.
const systemType = "postgres"

const (
	// connectTimeout bounds one attempt to connect.
	connectTimeout = 5 * time.Second
	// closeTimeout bounds the end of a broken connection, which nothing depends on.
	closeTimeout = time.Second
	// queryTimeout bounds one question, with its answer. Changes are bounded by the
	// maximum time of their action.
	queryTimeout = 15 * time.Second
	// lockTimeout is how long a change waits for a lock on a table. Whoever waits
	// for one that excludes readers makes all later readers wait behind it.
	lockTimeout = 3 * time.Second
)

func init() {
	driver.RegisterSystem(systemType, open)
}

// server is one database of a PostgreSQL server. It holds no connection: each
// call makes its own.
type server struct {
	name     string
	settings Settings
	config   *pgconn.Config
}

// open reads the settings. It does not ask the server.
func open(_ context.Context, s driver.System) (*server, error) {
	srv := &server{name: s.Name}
	if err := s.Decode(&srv.settings); err != nil {
		return nil, fmt.Errorf("decode settings: %w", err)
	}
	var err error
	if srv.config, err = srv.settings.config(); err != nil {
		return nil, err
	}
	if len(srv.settings.Migrations) > 0 {
		go StartGrammar() // It ends by itself.
	}
	return srv, nil
}

// Reach connects and asks for nothing.
func (s *server) Reach(ctx context.Context) error {
	return s.with(ctx, func(c *session) error {
		_, err := c.query(ctx, "SELECT 1")
		return err
	})
}

// with connects, does something and closes the connection.
func (s *server) with(ctx context.Context, do func(c *session) error) error {
	return s.connect(ctx, s.settings.Database, do)
}

// connect does the same in a database by its name.
func (s *server) connect(ctx context.Context, database string, do func(c *session) error) error {
	cfg := s.config.Copy()
	cfg.Database = database
	if s.settings.PasswordFile != "" {
		password, err := secret(s.settings.PasswordFile)
		if err != nil {
			return fmt.Errorf("connect: %w", err)
		}
		cfg.Password = password
	}
	conn, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		return fmt.Errorf("connect: %w", refusal(err))
	}
	defer hangUp(ctx, conn)
	return do(&session{conn: conn, user: cfg.User})
}

// hangUp ends a connection without a good-bye: the server takes the end of an idle
// connection for one, and a message that nobody waits for would still be under way
// when the caller has gone on.
func hangUp(ctx context.Context, conn *pgconn.PgConn) {
	idle, err := conn.Hijack()
	if err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		_ = conn.Close(ctx) // It is broken: it is gone either way.
		return
	}
	_ = idle.Conn.Close() // As above.
}

// session is one connection.
type session struct {
	conn *pgconn.PgConn
	// user is who is connected.
	user string
}

// row is one row as text. A value that is NULL is not there.
type row []value

// value is a column as text.
type value struct {
	text string
	null bool
}

// query asks one question, which is quick, and returns all rows as text.
func (c *session) query(ctx context.Context, sql string, args ...string) ([]row, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	return c.ask(ctx, sql, args...)
}

// ask sends one statement with its arguments, and returns all rows as text.
func (c *session) ask(ctx context.Context, sql string, args ...string) ([]row, error) {
	values := make([][]byte, len(args))
	for n, arg := range args {
		values[n] = []byte(arg)
	}
	result := c.conn.ExecParams(ctx, sql, values, nil, nil, nil).Read()
	if result.Err != nil {
		return nil, refusal(result.Err)
	}
	rows := make([]row, len(result.Rows))
	for n, columns := range result.Rows {
		for _, column := range columns {
			rows[n] = append(rows[n], value{text: string(column), null: column == nil})
		}
	}
	return rows, nil
}

// run sends one message that holds several statements, and returns how many of
// them were carried out. It has had its whole effect or none when it begins and
// ends a transaction.
func (c *session) run(ctx context.Context, sql string) (done int, err error) {
	results, err := c.conn.Exec(ctx, sql).ReadAll()
	if err != nil {
		err = refusal(err)
	}
	return len(results), err
}

// major is the server's major version; 0 when it does not say.
func (c *session) major() int {
	digits, _, _ := strings.Cut(c.conn.ParameterStatus("server_version"), ".")
	n, err := strconv.Atoi(digits)
	if err != nil {
		return 0
	}
	return n
}

// whole is a value as a whole number.
func (v value) whole() (int64, error) {
	n, err := strconv.ParseInt(v.text, 10, 64)
	if err != nil || v.null {
		return 0, errors.New("read answer: a whole number was expected")
	}
	return n, nil
}

// moment is a value in seconds since 1970 as a time; zero when it is NULL.
func (v value) moment() (time.Time, error) {
	if v.null {
		return time.Time{}, nil
	}
	seconds, fraction, _ := strings.Cut(v.text, ".")
	whole, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return time.Time{}, errors.New("read answer: a time was expected")
	}
	micros, err := strconv.ParseInt((fraction + "000000")[:6], 10, 64)
	if err != nil {
		return time.Time{}, errors.New("read answer: a time was expected")
	}
	return time.Unix(whole, micros*int64(time.Microsecond)).UTC(), nil
}

// yes reports whether a value is the boolean true.
func (v value) yes() bool { return v.text == "t" || v.text == "true" }
