package incident

import (
	"fmt"
	"regexp"
	"time"
)

// UpdatePin takes a PinRequest and returns a Result. It lives in histories and never
// changes.
const UpdatePin = "pin"

// EventPin records that a message of the channel entered the timeline, changed there,
// or left it.
const EventPin EventKind = "pin"

// Bounds of what is kept of pinned messages.
const (
	// MaxPins is how many messages one incident keeps.
	MaxPins = 40
	// MaxPinText is how much of a message is kept, in runes.
	MaxPinText = 800
	// MaxPinImages is how many files of a message are linked.
	MaxPinImages = 4
	// MaxPinCopies is how many images of pinned messages one incident has copies of.
	MaxPinCopies = 24
)

// PinImagesID is the ledger entry of the copies of a pinned message's images, by the
// event of the pin.
func PinImagesID(eventID string) string { return eventID + "/images" }

// PinRequest is the payload of UpdatePin: something happened to a message, so look at
// it again. It carries no text: what the message says is read from where it stands, so
// that the order of events does not matter and nobody can put words into it.
type PinRequest struct {
	// EventID is unique to the event; the same ID twice is the same event.
	EventID string `json:"event_id"`
	// Channel and TS name the message.
	Channel string `json:"channel"`
	TS      string `json:"ts"`
	// Actor is who pinned it; zero when the message was edited, deleted or unpinned.
	Actor Actor     `json:"actor,omitzero"`
	At    time.Time `json:"at"`
}

// Slack's spelling of a channel and of a message's timestamp.
var (
	pinChannel = regexp.MustCompile(`^[CDG][A-Z0-9]{1,30}$`)
	pinTS      = regexp.MustCompile(`^[0-9]{1,12}\.[0-9]{1,9}$`)
)

// Validate checks form only.
func (r PinRequest) Validate() error {
	switch {
	case r.EventID == "" || len(r.EventID) > 255:
		return fmt.Errorf("validate pin: event ID must have 1 to 255 bytes, has %d", len(r.EventID))
	case !pinChannel.MatchString(r.Channel):
		return fmt.Errorf("validate pin %q: %q is no channel", r.EventID, r.Channel)
	case !pinTS.MatchString(r.TS):
		return fmt.Errorf("validate pin %q: %q is no timestamp of a message", r.EventID, r.TS)
	}
	if r.Actor == (Actor{}) {
		return nil
	}
	return r.Actor.Validate()
}

// Pin is a message of the incident's channel that somebody put into the timeline.
type Pin struct {
	Channel string `json:"channel"`
	TS      string `json:"ts"`
	// EventID is the recorded event by which it entered the timeline.
	EventID string `json:"event_id"`
	// At is when it was written, By who pinned it.
	At     time.Time `json:"at"`
	Author string    `json:"author"`
	By     string    `json:"by"`
	// Text is what it says now, redacted, and text from outside.
	Text string `json:"text"`
	// URL leads to the message; empty if that is not known.
	URL string `json:"url,omitempty"`
	// EditedAt is when it was edited last, zero for never.
	EditedAt time.Time  `json:"edited_at,omitzero"`
	Images   []PinImage `json:"images,omitempty"`
}

// PinImage is a picture of a pinned message: a link to where it is in the chat and,
// where postmortems show pictures, a copy among the evidence.
type PinImage struct {
	Name string `json:"name"`
	URL  string `json:"url"`
	// File is the chat's identifier of it; empty if it can not be copied.
	File string `json:"file,omitempty"`
	// Digest and MediaType are those of the copy; both are empty when there is none,
	// and Missing says why if it was tried.
	Digest    string `json:"digest,omitempty"`
	MediaType string `json:"media_type,omitempty"`
	Missing   string `json:"missing,omitempty"`
	// Shown is the address at which the tracker shows the copy. It is known while a
	// postmortem is written, and not kept.
	Shown string `json:"shown,omitempty"`
}

// ChannelMessage is what somebody wrote in a channel, as plain text.
type ChannelMessage struct {
	// Own says that Backout wrote it, Author who did otherwise.
	Own    bool
	Author string
	Text   string
	At     time.Time
	// EditedAt is zero for a message that was never edited.
	EditedAt time.Time
	// URL leads to it; Images are its pictures, as links.
	URL    string
	Images []PinImage
	// PinnedBy are the accounts that marked it for the timeline.
	PinnedBy []string
}
