package ledger

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// The headers of a delivery.
// Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
const (
	HeaderID        = "webhook-id"
	HeaderTimestamp = "webhook-timestamp"
	HeaderSignature = "webhook-signature"
)

const (
	// secretPrefix is how a signing secret begins; minSecret and maxSecret bound
	// what it stands for, in bytes.
	// Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md#signature-scheme
	secretPrefix = "whsec_"
	minSecret    = 24
	maxSecret    = 64
	// webhookTimeout bounds one delivery, and maxAnswer what is read of the
	// answer, in bytes, so that the connection can be used again.
	webhookTimeout = 10 * time.Second
	maxAnswer      = 4 << 10
)

// WebhookOptions say where deliveries go.
type WebhookOptions struct {
	// URL takes a POST of JSON lines. It is https, or http on this host.
	URL string
	// SecretFile holds the signing secret: whsec_ and base64 of 24 to 64 bytes.
	// It is read for each delivery, so that it can be changed.
	SecretFile string
	// CursorFile keeps how far the receiver is.
	CursorFile string
	// Now is the clock of the signature. Default: time.Now.
	Now func() time.Time
	// Client makes the requests. Default: one with a time limit that follows no
	// redirect.
	Client *http.Client
}

// WebhookSink posts every entry to a URL, signed, in order and at least once: an
// answer that was lost makes the same entries come again. The receiver tells them
// by their sequence numbers, which are in the body and in webhook-id.
type WebhookSink struct {
	o    WebhookOptions
	host string
}

// NewWebhookSink checks the options. Its errors hold neither the secret nor the
// path or query of the URL, which may hold one.
func NewWebhookSink(o WebhookOptions) (*WebhookSink, error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Host == "" {
		return nil, errors.New("open ledger webhook: the URL is none; give https://host/path")
	}
	ip := net.ParseIP(u.Hostname())
	local := u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
	switch {
	case u.Scheme != "https" && (u.Scheme != "http" || !local):
		return nil, fmt.Errorf("open ledger webhook %q: use https; http is for this host only", u.Host)
	case u.User != nil:
		return nil, fmt.Errorf("open ledger webhook %q: take the password out of the URL; deliveries are signed", u.Host)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Client == nil {
		o.Client = &http.Client{Timeout: webhookTimeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	s := &WebhookSink{o: o, host: u.Host}
	if _, err := s.secret(); err != nil {
		return nil, err
	}
	return s, nil
}

// Name is "webhook:" and the host.
func (s *WebhookSink) Name() string { return "webhook:" + s.host }

// Cursor is the newest entry that the receiver has acknowledged.
func (s *WebhookSink) Cursor() (Head, error) {
	b, err := os.ReadFile(s.o.CursorFile)
	if errors.Is(err, os.ErrNotExist) {
		return Head{}, nil
	}
	if err != nil {
		return Head{}, fmt.Errorf("read cursor: %w", err)
	}
	var h Head
	if err := json.Unmarshal(b, &h); err != nil {
		return Head{}, fmt.Errorf("the cursor file %q is unreadable; remove it to deliver everything again", s.o.CursorFile)
	}
	return h, nil
}

func (s *WebhookSink) forward(ctx context.Context, pending func(after Head) ([]row, error)) (_ Head, err error) {
	// Two processes that share the cursor take turns.
	lock, err := os.OpenFile(s.o.CursorFile+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return Head{}, fmt.Errorf("lock cursor: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := lockFile(lock); err != nil {
		return Head{}, fmt.Errorf("lock cursor: %w", err)
	}
	at, err := s.Cursor()
	if err != nil {
		return Head{}, err
	}
	rows, err := pending(at)
	if err != nil || len(rows) == 0 {
		return at, err
	}
	var body []byte
	for _, r := range rows {
		if body, err = appendJSON(body, r.line()); err != nil {
			return at, err
		}
	}
	first, last := rows[0], rows[len(rows)-1]
	if err := s.post(ctx, fmt.Sprintf("ledger-%d-%d-%s", first.seq, last.seq, last.hash[len(last.hash)-12:]), body); err != nil {
		return at, err
	}
	next := Head{Seq: last.seq, Hash: last.hash}
	if err := replaceFile(s.o.CursorFile, next); err != nil {
		return at, fmt.Errorf("write cursor: %w", err)
	}
	return next, nil
}

// post delivers a body once. Any answer but 2xx is a failure.
func (s *WebhookSink) post(ctx context.Context, id string, body []byte) error {
	secret, err := s.secret()
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.o.URL, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("deliver to %s: the request could not be made", s.host)
	}
	at := s.o.Now()
	req.Header.Set("Content-Type", "application/x-ndjson")
	req.Header.Set(HeaderID, id)
	req.Header.Set(HeaderTimestamp, strconv.FormatInt(at.Unix(), 10))
	req.Header.Set(HeaderSignature, Sign(secret, id, at, body))
	resp, err := s.o.Client.Do(req)
	if err != nil {
		// The error of the client names the whole URL.
		if failed, ok := errors.AsType[*url.Error](err); ok {
			err = failed.Err
		}
		return fmt.Errorf("deliver to %s: %w", s.host, err)
	}
	defer func() { _ = resp.Body.Close() }() // Nothing was written.
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer))
	if resp.StatusCode < http.StatusOK || resp.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("deliver to %s: it answered %d", s.host, resp.StatusCode)
	}
	return nil
}

func (s *WebhookSink) secret() ([]byte, error) {
	b, err := os.ReadFile(s.o.SecretFile)
	if err != nil {
		return nil, fmt.Errorf("read secret of ledger webhook: %w", err)
	}
	encoded, ok := strings.CutPrefix(strings.TrimSpace(string(b)), secretPrefix)
	secret, err := base64.StdEncoding.DecodeString(encoded)
	if !ok || err != nil || len(secret) < minSecret || len(secret) > maxSecret {
		return nil, fmt.Errorf("read secret of ledger webhook: file %q must hold %s and base64 of %d to %d bytes", s.o.SecretFile, secretPrefix, minSecret, maxSecret)
	}
	return secret, nil
}

// Sign is the value of HeaderSignature: HMAC-SHA256 over the ID, the time in
// seconds and the body, with full stops between them.
func Sign(secret []byte, id string, at time.Time, body []byte) string {
	mac := hmac.New(sha256.New, secret)
	_, _ = mac.Write([]byte(id + "." + strconv.FormatInt(at.Unix(), 10) + ".")) // A hash never fails.
	_, _ = mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// CursorPath is where the cursor of a webhook stands beside its ledger: one for
// each URL.
func CursorPath(ledgerPath, webhook string) string {
	sum := sha256.Sum256([]byte(webhook))
	return fmt.Sprintf("%s.cursor-%x", filepath.Clean(ledgerPath), sum[:6])
}
