package login

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/go-webauthn/webauthn/webauthn"
	_ "github.com/jackc/pgx/v5/stdlib" // The driver of a database that several bots share.
	_ "modernc.org/sqlite"             // The driver of a file.
)

// busyTimeout is how long a write waits for another process's, in milliseconds.
const busyTimeout = "5000"

// schema is the same for both databases. Times are seconds since 1970. Nothing in
// it is a secret: passkeys are public keys, codes are kept as their SHA-256.
var schema = []string{
	`CREATE TABLE IF NOT EXISTS login_passkeys (
		id         TEXT PRIMARY KEY,
		login      TEXT NOT NULL,
		account    TEXT NOT NULL,
		name       TEXT NOT NULL,
		credential TEXT NOT NULL,
		counter    BIGINT NOT NULL,
		locked     BIGINT NOT NULL,
		created_at BIGINT NOT NULL,
		used_at    BIGINT NOT NULL
	)`,
	`CREATE TABLE IF NOT EXISTS login_codes (
		code       TEXT PRIMARY KEY,
		login      TEXT NOT NULL,
		expires_at BIGINT NOT NULL
	)`,
	`CREATE TABLE IF NOT EXISTS login_spent (
		id         TEXT PRIMARY KEY,
		expires_at BIGINT NOT NULL
	)`,
}

// Store keeps what must survive a restart and what all bots must know at once. It
// is safe for concurrent use.
type Store struct{ db *sql.DB }

// Passkey is one enrolled passkey.
type Passkey struct {
	// ID is the credential's, in base64url.
	ID    string
	Login string
	// Name is what the person called it.
	Name string
	// Locked says that it may have been copied and is not taken any more.
	Locked bool
	// CreatedAt is when it was enrolled, UsedAt when it last proved something;
	// zero if never.
	CreatedAt, UsedAt time.Time

	account    string
	credential webauthn.Credential
}

// OpenStore opens the file at path, and creates it for its owner only when there
// is none. Its folder must exist. All bots on one machine may share it.
func OpenStore(ctx context.Context, path string) (*Store, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open passkeys %q: %w", path, err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open passkeys: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("open passkeys: %w", err)
	}
	source := url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: url.Values{
		"_pragma": {"busy_timeout(" + busyTimeout + ")", "journal_mode(wal)", "synchronous(full)"}, "_txlock": {"immediate"},
	}.Encode()}
	db, err := sql.Open("sqlite", source.String())
	if err != nil {
		return nil, fmt.Errorf("open passkeys %q: %w", path, err)
	}
	db.SetMaxOpenConns(1)
	return prepare(ctx, &Store{db: db})
}

// OpenSharedStore opens tables in a PostgreSQL database that all bots share. No
// error quotes the address, which may hold a password.
func OpenSharedStore(ctx context.Context, address string) (*Store, error) {
	db, err := sql.Open("pgx", address)
	if err != nil {
		return nil, errors.New("open passkeys: the address of the database can not be read")
	}
	// Bots that start at once would trip over each other: PostgreSQL looks whether a
	// table exists, and creates it, in two steps.
	return prepare(ctx, &Store{db: db}, "SELECT pg_advisory_xact_lock("+sharedLock+")")
}

// sharedLock is the number of the advisory lock, of no meaning.
const sharedLock = "8420736582"

// prepare makes the tables that are missing, after the statements of the database.
func prepare(ctx context.Context, s *Store, before ...string) (*Store, error) {
	err := s.together(ctx, "open passkeys", func(tx *sql.Tx) error {
		for _, statement := range append(before, schema...) {
			if _, err := tx.ExecContext(ctx, statement); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, errors.Join(err, s.db.Close())
	}
	return s, nil
}

// Close closes the store.
func (s *Store) Close() error {
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("close passkeys: %w", err)
	}
	return nil
}

// executor is a database or a transaction.
type executor interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// change reports whether a statement changed anything.
func change(ctx context.Context, on executor, statement string, args ...any) (bool, error) {
	result, err := on.ExecContext(ctx, statement, args...)
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

// spend records that an ID was used and reports whether it is the first time. It
// is kept until it would be refused as too old anyway.
func (s *Store) spend(ctx context.Context, id string, expires, now time.Time) (bool, error) {
	return spendOn(ctx, s.db, id, expires, now)
}

func spendOn(ctx context.Context, on executor, id string, expires, now time.Time) (bool, error) {
	if _, err := change(ctx, on, `DELETE FROM login_spent WHERE expires_at < $1`, now.Add(-time.Minute).Unix()); err != nil {
		return false, fmt.Errorf("record use: %w", err)
	}
	first, err := change(ctx, on, `INSERT INTO login_spent (id, expires_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING`, id, expires.Unix()+1)
	if err != nil {
		return false, fmt.Errorf("record use: %w", err)
	}
	return first, nil
}

// spent reports whether an ID was used.
func (s *Store) spent(ctx context.Context, id string) (bool, error) {
	var n int
	if err := s.db.QueryRowContext(ctx, `SELECT count(*) FROM login_spent WHERE id = $1`, id).Scan(&n); err != nil {
		return false, fmt.Errorf("look up use: %w", err)
	}
	return n > 0, nil
}

// Passkeys are those of a login, or all of them for an empty one, oldest first.
func (s *Store) Passkeys(ctx context.Context, login string) (_ []Passkey, err error) {
	rows, err := s.db.QueryContext(ctx, `SELECT id, login, account, name, credential, locked, created_at, used_at
		FROM login_passkeys WHERE login = $1 OR $2 = '' ORDER BY created_at, id`, login, login)
	if err != nil {
		return nil, fmt.Errorf("read passkeys: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var out []Passkey
	for rows.Next() {
		var p Passkey
		var credential string
		var locked, created, used int64
		if err := rows.Scan(&p.ID, &p.Login, &p.account, &p.Name, &credential, &locked, &created, &used); err != nil {
			return nil, fmt.Errorf("read passkeys: %w", err)
		}
		if err := json.Unmarshal([]byte(credential), &p.credential); err != nil {
			return nil, fmt.Errorf("read passkey %q: %w", p.ID, err)
		}
		p.Locked, p.CreatedAt = locked != 0, time.Unix(created, 0).UTC()
		if used > 0 {
			p.UsedAt = time.Unix(used, 0).UTC()
		}
		out = append(out, p)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read passkeys: %w", err)
	}
	return out, nil
}

// add stores a new passkey and uses up the code it was enrolled with, or neither.
// The error wraps ErrCode if the code was used meanwhile.
func (s *Store) add(ctx context.Context, p Passkey, code string, now time.Time) error {
	credential, err := json.Marshal(p.credential)
	if err != nil {
		return fmt.Errorf("store passkey: %w", err)
	}
	return s.together(ctx, "store passkey", func(tx *sql.Tx) error {
		used, err := change(ctx, tx, `DELETE FROM login_codes WHERE code = $1 AND login = $2 AND expires_at > $3`, code, p.Login, now.Unix())
		if err != nil {
			return err
		}
		if !used {
			return ErrCode
		}
		_, err = change(ctx, tx, `INSERT INTO login_passkeys (id, login, account, name, credential, counter, locked, created_at, used_at)
			VALUES ($1, $2, $3, $4, $5, $6, 0, $7, 0)`,
			p.ID, p.Login, p.account, p.Name, string(credential), int64(p.credential.Authenticator.SignCount), now.Unix())
		return err
	})
}

// proved records a proof: its ID is spent and the passkey's counter moves from
// what it was when it was read, or nothing is recorded. The error wraps ErrSpent
// or, if another proof came between, ErrPasskey.
func (s *Store) proved(ctx context.Context, p Passkey, before uint32, id string, expires, now time.Time) error {
	credential, err := json.Marshal(p.credential)
	if err != nil {
		return fmt.Errorf("record proof: %w", err)
	}
	return s.together(ctx, "record proof", func(tx *sql.Tx) error {
		first, err := spendOn(ctx, tx, id, expires, now)
		if err != nil {
			return err
		}
		if !first {
			return ErrSpent
		}
		moved, err := change(ctx, tx, `UPDATE login_passkeys SET credential = $1, counter = $2, used_at = $3
			WHERE id = $4 AND login = $5 AND counter = $6 AND locked = 0`,
			string(credential), int64(p.credential.Authenticator.SignCount), now.Unix(), p.ID, p.Login, int64(before))
		if err != nil {
			return err
		}
		if !moved {
			return fmt.Errorf("%w: it proved something else, or was locked, meanwhile", ErrPasskey)
		}
		return nil
	})
}

// lock keeps a passkey from being taken ever again.
func (s *Store) lock(ctx context.Context, p Passkey) error {
	if _, err := change(ctx, s.db, `UPDATE login_passkeys SET locked = 1 WHERE id = $1`, p.ID); err != nil {
		return fmt.Errorf("lock passkey: %w", err)
	}
	return nil
}

// Revoke removes a passkey of a login, or all of them for an empty ID, and every
// code of the login. It reports how many passkeys there were.
func (s *Store) Revoke(ctx context.Context, login, id string) (int, error) {
	if _, err := change(ctx, s.db, `DELETE FROM login_codes WHERE login = $1`, login); err != nil {
		return 0, fmt.Errorf("revoke passkeys: %w", err)
	}
	result, err := s.db.ExecContext(ctx, `DELETE FROM login_passkeys WHERE login = $1 AND (id = $2 OR $3 = '')`, login, id, id)
	if err != nil {
		return 0, fmt.Errorf("revoke passkeys: %w", err)
	}
	n, err := result.RowsAffected()
	return int(n), err
}

// together runs statements that belong together.
func (s *Store) together(ctx context.Context, what string, f func(*sql.Tx) error) error {
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if err := f(tx); err != nil {
		return errors.Join(fmt.Errorf("%s: %w", what, err), tx.Rollback())
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
