package haproxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"strings"
	"time"
	"unicode"

	"github.com/backout/backout/integrations/driver"
)

// systemType is the name of the system type in the configuration.
const systemType = "haproxy"

// requestTimeout bounds one line of commands, with its answer. HAProxy itself waits
// 10 s for a socket by default.
const requestTimeout = 5 * time.Second

// maxAnswer is the longest answer that is read, in bytes: a backend with the most
// servers that are taken needs about 12 KiB.
const maxAnswer = 1 << 20

// maxLine is the longest line of commands, in bytes: half of HAProxy's buffer.
// Source: https://docs.haproxy.org/2.6/configuration.html#tune.bufsize
const maxLine = 8 << 10

// maxText is the longest text of HAProxy that is passed on, in characters.
const maxText = 200

// errInterrupted means that the connection ended before the answer did: the
// commands may have had their effect, or not.
var errInterrupted = errors.New("the connection ended before the answer")

func init() {
	driver.RegisterSystem(systemType, open)
}

// connection is one HAProxy process. It has a connection for each line of commands,
// as the runtime socket has it when it is not interactive, so that the end of the
// answer is its end.
type connection struct {
	name     string
	settings Settings
	endpoint endpoint
}

// open reads the settings. It asks HAProxy nothing.
func open(_ context.Context, s driver.System) (*connection, error) {
	var settings Settings
	if err := s.Decode(&settings); err != nil {
		return nil, fmt.Errorf("decode settings: %w", err)
	}
	where, err := settings.endpoint()
	if err != nil {
		return nil, err
	}
	if settings.TokenFile != "" {
		if _, err := settings.token(); err != nil {
			return nil, err
		}
	}
	if err := settings.check(); err != nil {
		return nil, err
	}
	return &connection{name: s.Name, settings: settings, endpoint: where}, nil
}

// Reach asks HAProxy for the level of the socket and, where there is a token,
// whether it is the right one.
func (c *connection) Reach(ctx context.Context) error {
	allowed, reason, err := c.may(ctx)
	switch {
	case err != nil:
		return err
	case !allowed:
		return fmt.Errorf("%w: %s", driver.ErrDenied, reason)
	}
	return nil
}

// ask sends one line of commands and returns the whole answer. Whether a line whose
// answer was lost had an effect is not known. No error holds the line: it may hold
// the token.
func (c *connection) ask(ctx context.Context, line string) (string, error) {
	if len(line) > maxLine || strings.ContainsAny(line, "\n\r") {
		return "", fmt.Errorf("ask: %w: the commands have more than %d bytes or several lines", driver.ErrInvalid, maxLine)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	conn, err := c.dial(ctx)
	if err != nil {
		return "", fmt.Errorf("connect: %w", classify(err))
	}
	defer func() { _ = conn.Close() }() // All that was wanted of it has been read.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	answer, err := exchange(conn, line)
	if ctx.Err() != nil {
		return "", fmt.Errorf("ask: %w", ctx.Err())
	}
	if err != nil {
		return "", fmt.Errorf("ask: %w", classify(err))
	}
	return answer, nil
}

func exchange(conn net.Conn, line string) (string, error) {
	if _, err := io.WriteString(conn, line+"\n"); err != nil {
		return "", err
	}
	content, err := io.ReadAll(io.LimitReader(conn, maxAnswer+1))
	if err != nil {
		return "", err
	}
	answer := string(content)
	switch {
	case len(answer) > maxAnswer:
		return "", fmt.Errorf("the answer is longer than %d bytes", maxAnswer)
	case answer != "\n" && !strings.HasSuffix(answer, "\n\n"):
		return "", errInterrupted // HAProxy ends what it says with an empty line.
	}
	return answer, nil
}

func (c *connection) dial(ctx context.Context) (net.Conn, error) {
	var plain net.Dialer
	if c.endpoint.tls == nil {
		return plain.DialContext(ctx, c.endpoint.network, c.endpoint.address)
	}
	secure := tls.Dialer{NetDialer: &plain, Config: c.endpoint.tls}
	return secure.DialContext(ctx, c.endpoint.network, c.endpoint.address)
}

// classify finds the errors that mean that the credential was refused.
func classify(err error) error {
	if refusesCertificate(err) {
		return fmt.Errorf("%w: the server refused the client certificate", driver.ErrDenied)
	}
	if errors.Is(err, os.ErrPermission) {
		return fmt.Errorf("%w: the socket may not be opened", driver.ErrDenied)
	}
	return err
}

// The alerts of TLS that speak of the client's certificate. Others can pass.
// Source: https://www.rfc-editor.org/rfc/rfc8446#section-6
const (
	firstCertificateAlert    = 42
	lastCertificateAlert     = 49
	certificateRequiredAlert = 116
)

// refusesCertificate reports whether an error is an alert of the other side about the
// client's certificate.
func refusesCertificate(err error) bool {
	var remote *net.OpError
	if !errors.As(err, &remote) || remote.Op != "remote error" {
		return false
	}
	// The package crypto/tls keeps the type to itself; it is a number.
	alert := reflect.ValueOf(remote.Err)
	if alert.Kind() != reflect.Uint8 {
		return false
	}
	number := alert.Uint()
	return number >= firstCertificateAlert && number <= lastCertificateAlert || number == certificateRequiredAlert
}

// may reports whether the credential may change weights and, if not, why.
func (c *connection) may(ctx context.Context) (allowed bool, reason string, err error) {
	if c.guarded() {
		answer, err := c.guard(ctx, "may")
		return answer == "yes", "The extension of HAProxy does not take the token.", err
	}
	answer, err := c.ask(ctx, "show cli level")
	if err != nil {
		return false, "", err
	}
	level := strings.TrimSpace(answer)
	return level == "admin", fmt.Sprintf("The runtime socket is of level %q, and weights may be changed at level \"admin\" only.", printable(level)), nil
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
