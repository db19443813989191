package varnish

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/backout/backout/integrations/driver"
)

// systemType is the name of the system type in the configuration.
const systemType = "varnish"

// requestTimeout bounds one session: authentication and one batch of commands.
const requestTimeout = 5 * time.Second

// What an answer of the management port says.
// Source: https://varnish-cache.org/docs/7.1/reference/varnish-cli.html
const (
	statusParameter = 106
	statusAuth      = 107
	statusOK        = 200
	statusTruncated = 201
	statusCant      = 300
	statusClose     = 500
)

// headerLength is that of "<status> <length>\n", padded to a fixed width.
const headerLength = 13

// challengeLength is that of the challenge in front of an authentication.
const challengeLength = 32

// maxAnswer is the longest answer that is read, in bytes. Varnish cuts its own at the
// parameter cli_limit, which is 64 KiB by default.
const maxAnswer = 8 << 20

// maxText is the longest text of Varnish that is passed on, in characters.
const maxText = 200

// errInterrupted means that the session ended before the answer did: the commands
// may have had their effect, or not.
var errInterrupted = errors.New("the session ended before the answer")

func init() {
	driver.RegisterSystem(systemType, open)
}

// connection is one Varnish. It has a session for each batch of commands.
type connection struct {
	name     string
	settings Settings
}

// open reads the settings. It asks Varnish nothing.
func open(_ context.Context, s driver.System) (*connection, error) {
	var settings Settings
	if err := s.Decode(&settings); err != nil {
		return nil, fmt.Errorf("decode settings: %w", err)
	}
	if err := settings.check(); err != nil {
		return nil, err
	}
	return &connection{name: s.Name, settings: settings}, nil
}

// Reach authenticates and asks whether the cache process runs.
func (c *connection) Reach(ctx context.Context) error {
	answers, err := c.ask(ctx, "status")
	if err != nil {
		return err
	}
	if said := answers[0].text; answers[0].status != statusOK || !strings.Contains(said, "running") {
		return fmt.Errorf("the cache process does not run: %s", printable(said))
	}
	return nil
}

// answer is what Varnish says to one command.
type answer struct {
	status int
	text   string
}

// problem is an answer as an error; nil when the command did its work.
func (a answer) problem() error {
	switch a.status {
	case statusOK:
		return nil
	case statusTruncated:
		return fmt.Errorf("%w: Varnish cuts its answer off: its parameter cli_limit is too low", driver.ErrInvalid)
	case statusParameter:
		if strings.HasPrefix(a.text, "No VCL") {
			return fmt.Errorf("%w: Varnish has no such VCL", driver.ErrNotFound)
		}
	}
	return fmt.Errorf("varnish answers %d: %s", a.status, printable(a.text))
}

// ask opens a session for one batch of commands and returns an answer to each.
func (c *connection) ask(ctx context.Context, commands ...string) (answers []answer, err error) {
	err = c.inSession(ctx, func(s *session) error {
		answers, err = s.ask(commands...)
		return err
	})
	return answers, err
}

// session is one conversation with the management port, after authentication.
type session struct {
	conn   net.Conn
	reader *bufio.Reader
}

// inSession opens a session for a function, within requestTimeout.
func (c *connection) inSession(ctx context.Context, talk func(s *session) error) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", c.settings.Address)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() { _ = conn.Close() }() // All that was wanted of it has been read.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	s := &session{conn: conn, reader: bufio.NewReader(conn)}
	err = c.authenticate(s)
	if err == nil {
		err = talk(s)
	}
	if err != nil && ctx.Err() != nil && !driver.Final(err) {
		return fmt.Errorf("ask: %w", ctx.Err())
	}
	return err
}

// ask sends commands in one piece and returns an answer to each. Whether commands
// whose answers were lost had an effect is not known.
func (s *session) ask(commands ...string) ([]answer, error) {
	if _, err := io.WriteString(s.conn, strings.Join(commands, "\n")+"\n"); err != nil {
		return nil, fmt.Errorf("ask: %w", err)
	}
	answers := make([]answer, 0, len(commands))
	for range commands {
		a, err := readAnswer(s.reader)
		if err != nil {
			return nil, fmt.Errorf("ask: %w", err)
		}
		answers = append(answers, a)
	}
	return answers, nil
}

// authenticate reads the greeting and shows, if it asks for that, that the secret is
// known, without sending it.
// Source: https://varnish-cache.org/docs/7.1/reference/varnish-cli.html#authentication-with-s
func (c *connection) authenticate(s *session) error {
	greeting, err := readAnswer(s.reader)
	if err != nil || greeting.status != statusAuth {
		return err
	}
	if len(greeting.text) < challengeLength {
		return errors.New("authenticate: the challenge is too short")
	}
	if c.settings.SecretFile == "" {
		return fmt.Errorf("%w: Varnish asks for a secret, and secret_file is not set", driver.ErrDenied)
	}
	secret, err := c.settings.secret()
	if err != nil {
		return err
	}
	challenge := greeting.text[:challengeLength]
	hash := sha256.New()
	hash.Write([]byte(challenge + "\n"))
	hash.Write(secret)
	hash.Write([]byte(challenge + "\n"))
	answers, err := s.ask("auth " + hex.EncodeToString(hash.Sum(nil)))
	if err != nil {
		return err
	}
	switch answers[0].status {
	case statusOK:
		return nil
	case statusAuth, statusClose:
		return fmt.Errorf("%w: Varnish does not take the secret", driver.ErrDenied)
	}
	return fmt.Errorf("authenticate: varnish answers %d", answers[0].status)
}

// readAnswer reads one answer: a header of fixed length, the text, and a line end.
func readAnswer(reader *bufio.Reader) (answer, error) {
	header := make([]byte, headerLength)
	if _, err := io.ReadFull(reader, header); err != nil {
		return answer{}, interrupted(err)
	}
	fields := strings.Fields(string(header))
	if len(fields) != 2 || header[headerLength-1] != '\n' {
		return answer{}, errors.New("read an answer: malformed header")
	}
	status, statusErr := strconv.Atoi(fields[0])
	length, lengthErr := strconv.Atoi(fields[1])
	if statusErr != nil || lengthErr != nil || length < 0 || length > maxAnswer {
		return answer{}, errors.New("read an answer: malformed header")
	}
	text := make([]byte, length+1)
	if _, err := io.ReadFull(reader, text); err != nil {
		return answer{}, interrupted(err)
	}
	return answer{status: status, text: string(text[:length])}, nil
}

func interrupted(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errInterrupted
	}
	return err
}

// printable makes one short line of text from outside.
func printable(text string) string {
	line := []rune(strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, strings.TrimSpace(text)))
	return string(line[:min(len(line), maxText)])
}
