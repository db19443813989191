package activities

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"go.temporal.io/sdk/activity"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// imageTries is how often an image of a pinned message is asked for. After that the
// postmortem links to it.
const imageTries = 3

// imageTypes are the pictures that are kept, as their first bytes say. What can carry
// a program, such as SVG and HTML, is none of them.
// Source: https://mimesniff.spec.whatwg.org/#matching-an-image-type-pattern
var imageTypes = []string{"image/png", "image/jpeg", "image/gif", "image/webp"}

// ImageReader is a Channel that hands out the pictures of a message. It is optional:
// without it postmortems link to them.
type ImageReader interface {
	// Image is a file of a message as it stands now, by its ID, of bounded size. One
	// that is gone is an error that wraps driver.ErrNotFound.
	Image(ctx context.Context, channel, ts, file string) ([]byte, error)
}

// KeepImagesInput asks for copies of the images of a pinned message.
type KeepImagesInput struct {
	// EventID is the ledger entry of the copies.
	EventID  string       `json:"event_id"`
	Incident string       `json:"incident"`
	Pin      incident.Pin `json:"pin"`
	// Kept is how many copies the incident has of the images of other messages.
	Kept int `json:"kept,omitempty"`
}

// KeepImagesResult is the images with what is known of them now. Kept is false where
// postmortems show no pictures, and then nothing was fetched.
type KeepImagesResult struct {
	Kept   bool                `json:"kept"`
	Images []incident.PinImage `json:"images,omitempty"`
}

// KeepPinImages fetches the images of a message that somebody pinned, stores them by
// digest and writes that into the ledger, like other evidence. An image that can not be
// had says why. Only a store and a ledger that can not be written are errors.
func (a *Activities) KeepPinImages(ctx context.Context, in KeepImagesInput) (KeepImagesResult, error) {
	defer beat(ctx)()
	reader, reads := a.Channel.(ImageReader)
	pictures, keeps := a.Tracker.(Pictures)
	if !reads || !keeps || !pictures.Keeps() {
		return KeepImagesResult{}, nil
	}
	var was imagesRecord
	if _, there, err := a.recorded(ctx, in.EventID, in.Incident, incident.EventEvidence, &was); err != nil {
		return KeepImagesResult{}, asActivityError(err)
	} else if there {
		return KeepImagesResult{Kept: true, Images: was.Images}, nil
	}
	rec := imagesRecord{Manifest: incident.Manifest{Phase: incident.EvidencePinned}, Images: slices.Clone(in.Pin.Images)}
	kept := in.Kept
	for i := range rec.Images {
		image := &rec.Images[i]
		if image.Digest != "" {
			kept++
		}
		if image.File == "" || image.Digest != "" || image.Missing != "" {
			continue
		}
		item, err := a.keepImage(ctx, reader, in.Pin, image.File, kept)
		if err != nil {
			if _, final := classify(err); !final && activity.IsActivity(ctx) && activity.GetInfo(ctx).Attempt < imageTries {
				return KeepImagesResult{}, asActivityError(err)
			}
			image.Missing = said(err)
			item.Missing = image.Missing
		} else {
			kept++
		}
		image.Digest, image.MediaType = item.Digest, item.MediaType
		item.Name, item.Collector, item.At = "image "+image.Name, "slack.pin", a.Now().UTC()
		rec.Items = append(rec.Items, item)
	}
	if err := a.recordImages(ctx, in, rec); err != nil {
		return KeepImagesResult{}, asActivityError(err)
	}
	return KeepImagesResult{Kept: true, Images: rec.Images}, nil
}

// imagesRecord is what the ledger has of the images of a pinned message: a manifest
// like that of any other evidence.
type imagesRecord struct {
	incident.Manifest
	Images []incident.PinImage `json:"images"`
}

func (a *Activities) keepImage(ctx context.Context, reader ImageReader, pin incident.Pin, file string, kept int) (item incident.EvidenceItem, err error) {
	if kept >= incident.MaxPinCopies {
		return item, fmt.Errorf("keep image: %w: there are copies of %d images already", driver.ErrInvalid, kept)
	}
	content, err := reader.Image(ctx, pin.Channel, pin.TS, file)
	if err != nil {
		return item, err
	}
	kind := http.DetectContentType(content)
	if !slices.Contains(imageTypes, kind) {
		return item, fmt.Errorf("keep image: %w: it is neither PNG, JPEG, GIF nor WebP", driver.ErrInvalid)
	}
	digest, err := a.Evidence.Put(ctx, content, kind)
	if err != nil {
		return item, fmt.Errorf("store image: %w", err)
	}
	return incident.EvidenceItem{Digest: digest, MediaType: kind, Size: int64(len(content))}, nil
}

// recordImages writes the manifest of a message's images.
func (a *Activities) recordImages(ctx context.Context, in KeepImagesInput, rec imagesRecord) error {
	listed, err := json.Marshal(rec.Manifest)
	if err != nil {
		return err
	}
	if rec.Digest, err = a.Evidence.Put(ctx, listed, "application/json"); err != nil {
		return fmt.Errorf("store manifest: %w", err)
	}
	payload, err := json.Marshal(rec)
	if err != nil {
		return err
	}
	_, err = a.write(ctx, incident.Entry{
		ID: in.EventID, Incident: in.Incident, Kind: incident.EventEvidence, At: a.Now().UTC(),
		Text: fmt.Sprintf("images of a pinned message: %d, manifest %s", len(rec.Items), incident.ShortDigest(rec.Digest)), Payload: payload,
	})
	return err
}

// shownPins is the pins of a view with the addresses at which the tracker shows the
// copies of their images. One that can not be shown stays a link.
func (a *Activities) shownPins(ctx context.Context, pictures Pictures, key string, pins []incident.Pin) ([]incident.Pin, error) {
	out := slices.Clone(pins)
	for i, pin := range out {
		out[i].Images = slices.Clone(pin.Images)
		for j := range out[i].Images {
			image := &out[i].Images[j]
			if image.Digest == "" {
				continue
			}
			content, err := a.Evidence.Get(ctx, image.Digest)
			if err == nil {
				image.Shown, err = pictures.Picture(ctx, key, content)
			}
			if err == nil {
				continue
			}
			if _, final := classify(err); !final && activity.IsActivity(ctx) && activity.GetInfo(ctx).Attempt < pictureTries {
				return nil, err
			}
			image.Missing = said(err)
		}
	}
	return out, nil
}
