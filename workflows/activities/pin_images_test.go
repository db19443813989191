package activities_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

// sharing is a channel in which files were shared, by their IDs.
type sharing struct {
	channel
	files map[string]string
	asked map[string]int
}

func (s sharing) Image(ctx context.Context, _, _, file string) (content []byte, err error) {
	err = s.w.call(ctx, "image "+file, func() error {
		s.asked[file]++
		text, there := s.files[file]
		if !there {
			return fmt.Errorf("read image: the message has it no more: %w", driver.ErrNotFound)
		}
		content = []byte(text)
		return nil
	})
	return content, err
}

// modest is an album that keeps nothing.
type modest struct{ album }

func (modest) Keeps() bool { return false }

const (
	onePNG = "\x89PNG\r\n\x1a\nof a screenshot"
	oneGIF = "GIF89a of a cat"
)

// imagesInput is a pinned message with images of these IDs.
func imagesInput(files ...string) activities.KeepImagesInput {
	in := activities.KeepImagesInput{EventID: key + "/e9/images", Incident: key, Pin: incident.Pin{Channel: "C1", TS: "100.1", EventID: key + "/e9"}}
	for _, f := range files {
		in.Pin.Images = append(in.Pin.Images, incident.PinImage{Name: f + ".png", URL: "https://chat.example.com/" + f, File: f})
	}
	return in
}

func (w *world) sharing(t *testing.T, files map[string]string) (*activities.Activities, sharing) {
	t.Helper()
	a, _, _ := w.charting(t)
	var body string
	c := sharing{channel{w: w}, files, map[string]int{}}
	a.Channel, a.Tracker = c, album{w, map[string]bool{}, &body}
	return a, c
}

func TestKeepPinImages(t *testing.T) {
	t.Parallel()
	w := newWorld()
	a, c := w.sharing(t, map[string]string{"F1": onePNG, "F2": oneGIF, "F3": "<!DOCTYPE html><title>Sign in</title>", "F4": `<svg xmlns="http://www.w3.org/2000/svg"/>`})
	in := imagesInput("F1", "F2", "F3", "F4")
	got, err := a.KeepPinImages(t.Context(), in)
	require.NoError(t, err)
	require.True(t, got.Kept)
	require.Equal(t, onePNG, string(w.blobs[got.Images[0].Digest]))
	require.Equal(t, "image/png", got.Images[0].MediaType)
	require.Equal(t, oneGIF, string(w.blobs[got.Images[1].Digest]))
	for _, refused := range got.Images[2:] {
		require.Empty(t, refused.Digest)
		require.Contains(t, refused.Missing, "neither PNG, JPEG, GIF nor WebP")
	}
	require.Equal(t, []incident.EventKind{incident.EventEvidence}, w.kinds())
	var m incident.Manifest
	require.NoError(t, json.Unmarshal(w.entries[0].Payload, &m))
	require.Equal(t, incident.EvidencePinned, m.Phase)
	require.Len(t, m.Items, 4)
	require.Equal(t, "image F1.png", m.Items[0].Name)
	require.NotEmpty(t, m.Items[3].Missing)
	require.Contains(t, w.blobs, m.Digest)

	again, err := a.KeepPinImages(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, got, again)
	require.Equal(t, 1, c.asked["F1"], "it is not fetched again")
}

func TestKeepPinImagesIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld()
	a, c := w.sharing(t, map[string]string{"F1": onePNG, "F2": oneGIF, "F3": onePNG + "another"})
	in := imagesInput("F1", "F2", "F3")
	in.Kept = incident.MaxPinCopies - 2
	in.Pin.Images[0].Digest = incident.DigestOf([]byte("had before"))
	got, err := a.KeepPinImages(t.Context(), in)
	require.NoError(t, err)
	require.Equal(t, in.Pin.Images[0], got.Images[0])
	require.NotEmpty(t, got.Images[1].Digest)
	require.Contains(t, got.Images[2].Missing, "copies of 24 images already")
	require.Zero(t, c.asked["F1"])
	require.Zero(t, c.asked["F3"])
}

// Nothing is fetched for a postmortem that shows no pictures.
func TestKeepPinImagesWhereNoneAreShown(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(*activities.Activities)
	}{
		{"turned off", func(a *activities.Activities) {
			kept, _ := a.Tracker.(album)
			a.Tracker = modest{kept}
		}},
		{"no tracker", func(a *activities.Activities) { a.Tracker = nil }},
		{"a channel without files", func(a *activities.Activities) { a.Channel = speechless{a.Channel} }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			a, c := w.sharing(t, map[string]string{"F1": onePNG})
			tt.change(a)
			got, err := a.KeepPinImages(t.Context(), imagesInput("F1"))
			require.NoError(t, err)
			require.False(t, got.Kept)
			require.Empty(t, c.asked)
			require.Empty(t, w.entries)
		})
	}
}

func TestKeepPinImagesFails(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, call, kind string
	}{
		{"the store is away", "put", ""},
		{"the ledger is away", "append", incident.ErrTypeLedger},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			a, _ := w.sharing(t, map[string]string{"F1": onePNG})
			w.fail = func(call string) error {
				if len(call) >= len(tt.call) && call[:len(tt.call)] == tt.call {
					return errors.New("the disk is full")
				}
				return nil
			}
			_, err := a.KeepPinImages(t.Context(), imagesInput("F1"))
			require.ErrorContains(t, err, "the disk is full")
			requireError(t, err, tt.kind, false)
			require.Empty(t, w.entries)
		})
	}
}

// The postmortem shows the copies, and links to what it has no copy of.
func TestThePostmortemShowsPinnedImages(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		fail string
		want string
	}{
		{"shown", "", "shown=true missing="},
		{"the tracker refuses", "keep", "shown=false missing=no room"},
		{"the store does not have it", "fetch", "shown=false missing=no room"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			a, _ := w.sharing(t, map[string]string{"F1": onePNG})
			kept, err := a.KeepPinImages(t.Context(), imagesInput("F1"))
			require.NoError(t, err)
			var body string
			a.Tracker = album{w, map[string]bool{}, &body}
			a.Postmortem = func(v incident.View) (string, string) {
				image := v.Pins[0].Images[0]
				return "title", fmt.Sprintf("shown=%v missing=%s", image.Shown != "", image.Missing)
			}
			w.fail = func(call string) error {
				if call == tt.fail {
					return fmt.Errorf("no room: %w", driver.ErrInvalid)
				}
				return nil
			}
			v := incident.View{Key: key, Pins: []incident.Pin{{Channel: "C1", TS: "100.1", Images: kept.Images}}}
			_, err = a.WritePostmortem(t.Context(), activities.PostmortemInput{View: v})
			require.NoError(t, err)
			require.Contains(t, body, tt.want)
			require.Empty(t, v.Pins[0].Images[0].Shown, "the caller's view stays as it is")
		})
	}
}
