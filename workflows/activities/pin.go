package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/activities/redact"
	"github.com/backout/backout/workflows/incident"
)

// MessageReader is a Channel that shows what somebody wrote in it. It is optional:
// without it nothing can be pinned.
type MessageReader interface {
	// Message is a message as it stands now. One that is gone is an error that wraps
	// driver.ErrNotFound.
	Message(ctx context.Context, channel, ts string) (incident.ChannelMessage, error)
}

// PinResult is what a message says now.
type PinResult struct {
	// Found says that it is there, Pinned that somebody marks it still.
	Found  bool         `json:"found"`
	Pinned bool         `json:"pinned"`
	Pin    incident.Pin `json:"pin,omitzero"`
	// Denied says why the one who asked may not pin, for people; empty when they may.
	Denied string `json:"denied,omitempty"`
}

// ReadPin reads a message that somebody marked, edited or deleted, where it stands. Who
// marks it must be exactly one active person, and the message itself must say that they
// did: a request alone pins nothing. Secrets are taken out of the text.
func (a *Activities) ReadPin(ctx context.Context, in incident.PinRequest) (PinResult, error) {
	if err := in.Validate(); err != nil {
		return PinResult{}, asActivityError(fmt.Errorf("%w: %w", driver.ErrInvalid, err))
	}
	reader, can := a.Channel.(MessageReader)
	if !can {
		return PinResult{}, asActivityError(fmt.Errorf("read pinned message: a channel that shows messages is %w", errNotConfigured))
	}
	m, err := reader.Message(ctx, in.Channel, in.TS)
	switch {
	case errors.Is(err, driver.ErrNotFound):
		return PinResult{}, nil
	case err != nil:
		return PinResult{}, asActivityError(err)
	case m.Own:
		return PinResult{Found: true, Denied: "what Backout writes is in the timeline already"}, nil
	}
	out := PinResult{Found: true, Pinned: len(m.PinnedBy) > 0, Pin: incident.Pin{
		Channel: in.Channel, TS: in.TS, At: m.At.UTC(), Author: clean(m.Author, maxPinName), Text: clean(m.Text, incident.MaxPinText), URL: m.URL, EditedAt: m.EditedAt,
	}}
	for i, image := range m.Images {
		if i == incident.MaxPinImages {
			break
		}
		out.Pin.Images = append(out.Pin.Images, incident.PinImage{Name: clean(image.Name, maxPinName), URL: image.URL, File: image.File})
	}
	if in.Actor == (incident.Actor{}) {
		return out, nil
	}
	if in.Actor.Via != incident.ViaSlack || !slices.Contains(m.PinnedBy, in.Actor.SlackUser) {
		out.Denied = "the message does not say that you pinned it"
		return out, nil
	}
	person, err := a.Directory.Identify(ctx, in.Actor)
	switch {
	case errors.Is(err, incident.ErrNoIdentity):
		out.Denied = "only known, active people of this workspace can pin"
	case err != nil:
		return PinResult{}, asActivityError(err)
	case person.Name != "":
		out.Pin.By = person.Name
	default:
		out.Pin.By = person.ID
	}
	return out, nil
}

// maxPinName is how much of a name is kept with a pinned message, in runes.
const maxPinName = 80

// clean is text from outside without secrets, cut.
func clean(text string, limit int) string {
	out, _ := redact.Document([]byte(text), "")
	if r := []rune(string(out)); len(r) > limit {
		return string(r[:limit-1]) + "…"
	}
	return string(out)
}
