package slack

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"unicode/utf8"

	slackgo "github.com/slack-go/slack"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// Limits of pictures.
const (
	// maxAlt is the longest description of an image, in characters.
	// Source: https://docs.slack.dev/reference/methods/files.getUploadURLExternal
	maxAlt = 1000
	// maxPicture is the largest picture that is sent, in bytes. It is Backout's own:
	// a chart has a few hundred thousand.
	maxPicture = 4 << 20
	// maxComment is the longest text above a picture, in characters. It is Backout's
	// own and below Slack's limit for a section: more is not read beside a picture.
	maxComment = 1000
)

// Picture shows a PNG in the thread of a card, by the flow of
// files.getUploadURLExternal, the upload and files.completeUploadExternal, and
// returns the file. A picture that is there is found by its text and by the name of
// its file, which follow from its ID, and not sent again.
//
// It needs the scope files:write; without it the error wraps driver.ErrDenied.
func (c *Channel) Picture(ctx context.Context, card incident.CardRef, p incident.Picture) (incident.PictureRef, error) {
	switch {
	case card.IsZero() || p.ID == "":
		return incident.PictureRef{}, fmt.Errorf("show picture: card and id are required: %w", driver.ErrInvalid)
	case len(p.PNG) == 0 || len(p.PNG) > maxPicture:
		return incident.PictureRef{}, fmt.Errorf("show picture %q: it has %d bytes, and 1 to %d can be shown: %w", p.ID, len(p.PNG), maxPicture, driver.ErrInvalid)
	}
	self, err := c.whoami(ctx)
	if err != nil {
		return incident.PictureRef{}, err
	}
	name := pictureName(p.ID)
	var found incident.PictureRef
	there, err := c.thread(ctx, card, func(m slackgo.Message) bool {
		for _, f := range m.Files {
			if f.Name == name {
				found = incident.PictureRef{File: f.ID, URL: permalink(self, f.ID, name)}
				return true
			}
		}
		// Without files:read Slack may keep the file to itself.
		return tagged(m, p.ID)
	})
	if err != nil || there {
		return found, err
	}
	target, err := c.opts.API.GetUploadURLExternalContext(ctx, slackgo.GetUploadURLExternalParameters{
		FileName: name, FileSize: len(p.PNG), AltTxt: short(p.Alt, maxAlt),
	})
	if err = wrap("files.getUploadURLExternal", err); err != nil {
		if hasCode(err, "missing_scope") {
			err = fmt.Errorf("%w; give the Slack app the scope files:write", err)
		}
		return incident.PictureRef{}, err
	}
	err = c.opts.API.UploadToURL(ctx, slackgo.UploadToURLParameters{UploadURL: target.UploadURL, Reader: bytes.NewReader(p.PNG), Filename: name})
	if err != nil {
		return incident.PictureRef{}, wrap("upload of a file", err)
	}
	_, err = c.opts.API.CompleteUploadExternalContext(ctx, slackgo.CompleteUploadExternalParameters{
		Files: []slackgo.FileSummary{{ID: target.FileID, Title: short(p.Title, maxAlt)}}, Channel: card.Channel, ThreadTimestamp: card.TS, Blocks: above(p),
	})
	if err != nil {
		return incident.PictureRef{}, wrap("files.completeUploadExternal", err)
	}
	return incident.PictureRef{File: target.FileID, URL: permalink(self, target.FileID, name)}, nil
}

// pictureName is the name of a picture's file: it follows from the ID, and nothing of
// it is text from outside.
func pictureName(id string) string {
	sum := sha256.Sum256([]byte(id))
	return fmt.Sprintf("backout-%x.png", sum[:8])
}

// pictureTag stands below the text above a picture.
func pictureTag(id string) string { return strings.TrimSuffix(pictureName(id), ".png") }

// above is what stands above a picture, in which nothing is interpreted.
func above(p incident.Picture) slackgo.Blocks {
	plain := func(text string) *slackgo.TextBlockObject {
		return slackgo.NewTextBlockObject(slackgo.PlainTextType, text, false, false)
	}
	text := short(p.Text, maxComment)
	if strings.TrimSpace(text) == "" {
		text = "–"
	}
	return slackgo.Blocks{BlockSet: []slackgo.Block{
		slackgo.NewSectionBlock(plain(text), nil, nil),
		slackgo.NewContextBlock("", plain(pictureTag(p.ID))),
	}}
}

// tagged reports whether a message has a picture's tag, in its text or blocks.
func tagged(m slackgo.Message, id string) bool {
	blocks, err := json.Marshal(m.Blocks)
	return strings.Contains(m.Text, pictureTag(id)) || (err == nil && strings.Contains(string(blocks), pictureTag(id)))
}

func short(text string, limit int) string {
	text = strings.ToValidUTF8(text, "\ufffd")
	if utf8.RuneCountInString(text) > limit {
		return string([]rune(text)[:limit-1]) + "…"
	}
	return text
}

// permalink is the address of a file that the bot uploaded, which the answer to the
// upload does not have. Empty where Slack does not say where the workspace is.
// Source: https://docs.slack.dev/reference/objects/file-object
func permalink(self *slackgo.AuthTestResponse, file, name string) string {
	base, err := url.Parse(self.URL)
	if err != nil || base.Host == "" || self.UserID == "" || file == "" {
		return ""
	}
	return base.JoinPath("files", self.UserID, file, name).String()
}

// thread reports whether a message of Backout's own in the thread of a card is what is
// looked for. It gives up with an error rather than let something be said twice.
func (c *Channel) thread(ctx context.Context, card incident.CardRef, is func(slackgo.Message) bool) (bool, error) {
	self, err := c.whoami(ctx)
	if err != nil {
		return false, err
	}
	params := slackgo.GetConversationRepliesParameters{ChannelID: card.Channel, Timestamp: card.TS, Limit: pageSize, IncludeAllMetadata: true}
	for range maxPages {
		page, more, next, err := c.opts.API.GetConversationRepliesContext(ctx, &params)
		if err != nil {
			return false, wrap("conversations.replies", err)
		}
		for _, m := range page {
			if own(self, m) && is(m) {
				return true, nil
			}
		}
		if params.Cursor = next; !more || next == "" {
			return false, nil
		}
	}
	return false, fmt.Errorf("say in thread: it has more than %d replies: %w", maxPages*pageSize, driver.ErrInvalid)
}
