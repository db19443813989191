package slack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	slackgo "github.com/slack-go/slack"

	"github.com/backout/backout/integrations/driver"
)

// maxImage is the largest image of a message that is fetched, in bytes. It is Backout's
// own: a screenshot has a few hundred thousand, and a postmortem shows none that is
// larger.
const maxImage = 1 << 20

// Image is a picture of a message as it stands now, by the ID of its file, of at most
// maxImage bytes: of a larger one, the largest that Slack made of it for looking at. It
// is fetched with the bot's token, from Slack's own hosts alone: a file that somebody
// keeps elsewhere is refused, because the token would go there.
//
// It needs the scope files:read. Without it Slack answers with status 200 and a page to
// sign in on, which is an error that wraps driver.ErrDenied.
func (c *Channel) Image(ctx context.Context, channel, ts, file string) ([]byte, error) {
	m, err := c.message(ctx, channel, ts)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(m.Files, func(f slackgo.File) bool { return f.ID == file && file != "" })
	if at < 0 {
		return nil, fmt.Errorf("read image: the message has it no more: %w", driver.ErrNotFound)
	}
	f := m.Files[at]
	switch {
	case f.IsExternal || f.Mode == "external":
		return nil, fmt.Errorf("read image: it is not kept in Slack: %w", driver.ErrInvalid)
	case f.Size > maxImage && preview(f) == "":
		return nil, fmt.Errorf("read image: it has %d bytes, and at most %d are copied: %w", f.Size, maxImage, driver.ErrInvalid)
	case f.URLPrivateDownload == "":
		return nil, fmt.Errorf("read image: Slack hands it to nobody, or not to the app; give the Slack app the scope files:read: %w", driver.ErrDenied)
	}
	address := f.URLPrivateDownload
	if f.Size > maxImage {
		address = preview(f)
	}
	if !c.slackHosts(address) {
		return nil, fmt.Errorf("read image: it is not on a host of Slack's: %w", driver.ErrInvalid)
	}
	var content bounded
	err = wrap("download of a file", c.opts.API.GetFileContext(ctx, address, &content))
	switch {
	case content.over:
		return nil, fmt.Errorf("read image: it has more than %d bytes: %w", maxImage, driver.ErrInvalid)
	case signIn(content.kept), len(content.kept) == 0 && hasCode(err, codeUnreadable):
		// The client follows Slack to that page, or says in words alone that it was sent
		// there.
		return nil, fmt.Errorf("read image: Slack showed a page to sign in on; give the Slack app the scope files:read: %w", driver.ErrDenied)
	case err != nil:
		return nil, err
	case len(content.kept) == 0:
		return nil, errors.New("read image: Slack answered with nothing")
	}
	return content.kept, nil
}

// preview is the address of the largest picture that Slack made of an image; empty when
// it made none.
// Source: https://docs.slack.dev/reference/objects/file-object
func preview(f slackgo.File) string {
	return cmp.Or(f.Thumb1024, f.Thumb960, f.Thumb800, f.Thumb720, f.Thumb480)
}

// fileDomains are where Slack keeps files.
// Source: https://docs.slack.dev/reference/objects/file-object and
// https://docs.slack.dev/govslack/
var fileDomains = []string{"slack.com", "slack-gov.com"}

// slackHosts reports whether the bot's token may go to an address: to a host of Slack's
// or, where another address than Slack's was configured for the API, to that.
func (c *Channel) slackHosts(address string) bool {
	u, err := url.Parse(address)
	if err != nil || u.User != nil {
		return false
	}
	if c.opts.Files != "" {
		own, err := url.Parse(c.opts.Files)
		return err == nil && u.Scheme == own.Scheme && strings.EqualFold(u.Host, own.Host)
	}
	host := strings.ToLower(u.Hostname())
	return u.Scheme == "https" && slices.ContainsFunc(fileDomains, func(d string) bool { return host == d || strings.HasSuffix(host, "."+d) })
}

// signIn reports whether what was sent is a web page.
func signIn(content []byte) bool {
	return strings.HasPrefix(http.DetectContentType(content), "text/html")
}

// bounded takes up to maxImage bytes and refuses what is more.
type bounded struct {
	kept []byte
	over bool
}

var errBound = errors.New("too long")

// Write keeps what fits.
func (b *bounded) Write(p []byte) (int, error) {
	if len(b.kept)+len(p) > maxImage {
		b.over = true
		return 0, errBound
	}
	b.kept = append(b.kept, p...)
	return len(p), nil
}
