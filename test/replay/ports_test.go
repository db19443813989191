package replay_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"strings"
	"sync/atomic"
	"time"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/ledger"
	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

// The people and how they sign in. Eve is nobody here.
const (
	ada = "UADA"
	bo  = "UBO"
	eve = "UEVE"
)

var people = map[string]incident.Person{
	ada: {ID: "ada@example.com", Name: "Ada", Email: "ada@example.com", SlackUser: ada},
	bo:  {ID: "bo@example.com", Name: "Bo", Email: "bo@example.com", SlackUser: bo},
}

// incidentID is the pager's identifier of the n-th incident of a service.
func incidentID(service string, n int) string { return fmt.Sprintf("%s.%d", service, n) }

// of is the scene of an incident, by its key or its identifier.
func (w world) of(key string) (*scene, error) {
	id := key[strings.LastIndex(key, "/")+1:]
	service, _, _ := strings.Cut(id, ".")
	s, ok := w.scenes[service]
	if !ok {
		return nil, fmt.Errorf("find the scene of %q: %w", key, driver.ErrNotFound)
	}
	return s, nil
}

// allow is an error if an incident may not reach a port.
func (w world) allow(key, port string) error {
	s, err := w.of(key)
	if err != nil {
		return err
	}
	return s.allow(port)
}

// audit is the ledger as the product uses it.
type audit struct {
	*ledger.Ledger
	world world
}

func (a audit) Append(ctx context.Context, e incident.Entry) (incident.Recorded, error) {
	if err := a.world.allow(e.Incident, "ledger "+string(e.Kind)); err != nil {
		return incident.Recorded{}, err
	}
	rec, err := a.Ledger.Append(ctx, e)
	if errors.Is(err, ledger.ErrInvalid) || errors.Is(err, ledger.ErrConflict) {
		return rec, fmt.Errorf("%w: %w", driver.ErrInvalid, err)
	}
	return rec, err
}

// AppendAll writes several entries, or none of them.
func (a audit) AppendAll(ctx context.Context, entries []incident.Entry) ([]incident.Recorded, error) {
	for _, e := range entries {
		if err := a.world.allow(e.Incident, "ledger "+string(e.Kind)); err != nil {
			return nil, err
		}
	}
	return a.Ledger.AppendAll(ctx, entries)
}

func (a audit) Get(ctx context.Context, id string) (incident.Entry, bool, error) {
	rec, err := a.Ledger.Get(ctx, id)
	if errors.Is(err, ledger.ErrNotFound) {
		return incident.Entry{}, false, nil
	}
	return rec.Entry, err == nil, err
}

func (a audit) Of(ctx context.Context, key string, kind incident.EventKind) (entries []incident.Entry, err error) {
	records, err := a.Kind(ctx, key, kind)
	for _, r := range records {
		entries = append(entries, r.Entry)
	}
	return entries, err
}

// blobs takes evidence and keeps none.
type blobs struct{ world world }

func (b blobs) Put(_ context.Context, content []byte, _ string) (string, error) {
	var m incident.Manifest
	if json.Unmarshal(content, &m) == nil && m.Rollback != "" {
		key, _, _ := strings.Cut(strings.TrimPrefix(m.Rollback, "rollback/pagerduty/"), "/")
		if err := b.world.allow(key, "evidence"); err != nil {
			return "", err
		}
	}
	return incident.DigestOf(content), nil
}

// picture stands for a chart.
var picture = func() []byte {
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, 1, 1))); err != nil {
		panic(err) // Memory takes everything.
	}
	return b.Bytes()
}()

// Get gives back charts, and nothing else.
func (b blobs) Get(_ context.Context, digest string) ([]byte, error) {
	if digest == incident.DigestOf(picture) {
		return picture, nil
	}
	return nil, errors.New("nothing is kept")
}

// vendors are the channel, the pager, the directory and the tracker.
type vendors struct{ world world }

func (vendors) Publish(_ context.Context, v incident.View) (incident.CardRef, error) {
	return incident.CardRef{Channel: "C1", TS: "1700000000.000100", URL: "https://chat.example.com/C1/" + v.Key}, nil
}

func (vendors) Tell(context.Context, incident.Actor, string) error { return nil }

func (vendors) Say(context.Context, incident.CardRef, string, string) error { return nil }

func (v vendors) Escalate(_ context.Context, id, _ string) error { return v.world.allow(id, "pager") }

func (vendors) PageService(context.Context, string, string, string, string) error { return nil }

func (v vendors) Note(_ context.Context, id, _, _ string) error { return v.world.allow(id, "pager") }

func (v vendors) Open(context.Context) ([]incident.Page, error) {
	var open []incident.Page
	for _, s := range v.world.scenes {
		s.mu.Lock()
		open = append(open, s.open...)
		s.mu.Unlock()
	}
	return open, nil
}

// Incident implements activities.Asker.
func (v vendors) Incident(_ context.Context, id string) (incident.Page, bool, error) {
	s, err := v.world.of(id)
	if err != nil {
		return incident.Page{}, false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.over {
		if p.IncidentID == id {
			return p, false, nil
		}
	}
	return incident.Page{}, false, fmt.Errorf("ask about %q: %w", id, driver.ErrNotFound)
}

// Held is what the gateway lists, without the incidents of other scenarios.
func (v vendors) Held(context.Context, incident.Source) ([]string, error) {
	var held []string
	for _, s := range v.world.scenes {
		s.mu.Lock()
		held = append(held, s.held...)
		s.mu.Unlock()
	}
	return held, nil
}

func (vendors) OnCall(context.Context, string) ([]incident.Person, error) {
	return []incident.Person{people[ada], people[bo]}, nil
}

func (vendors) Identify(_ context.Context, a incident.Actor) (incident.Person, error) {
	p, ok := people[a.SlackUser]
	if !ok {
		return incident.Person{}, fmt.Errorf("identify %q: %w", a, incident.ErrNoIdentity)
	}
	return p, nil
}

func (v vendors) Upsert(_ context.Context, key, _, _ string) (incident.PostmortemRef, error) {
	return incident.PostmortemRef{Number: 7, URL: "https://git.example.com/shop/postmortems/7"}, v.world.allow(key, "tracker")
}

// Stands says that the postmortem is open, with one thing to do.
func (v vendors) Stands(_ context.Context, key string) (incident.PostmortemState, error) {
	return incident.PostmortemState{Open: true, Items: 1}, v.world.allow(key, "tracker")
}

// Remark is a comment under the postmortem.
func (v vendors) Remark(_ context.Context, key, _, _ string) error {
	return v.world.allow(key, "tracker")
}

// Message is a message that Ada pinned.
func (vendors) Message(_ context.Context, channel, ts string) (incident.ChannelMessage, error) {
	return incident.ChannelMessage{
		Author: bo, At: time.Unix(1_700_000_000, 0), Text: "it is the discounts", URL: "https://shop.slack.com/archives/" + channel + "/p" + ts, PinnedBy: []string{ada},
		Images: []incident.PinImage{{Name: "orders.png", URL: "https://shop.slack.com/files/F2", File: "F2"}},
	}, nil
}

// Image is what is pinned.
func (vendors) Image(context.Context, string, string, string) ([]byte, error) { return picture, nil }

// tracker is the tracker, which shows pictures.
type tracker struct{ vendors }

func (tracker) Keeps() bool { return true }

func (tracker) Picture(_ context.Context, _ string, png []byte) (string, error) {
	return "https://git.example.com/" + incident.DigestOf(png), nil
}

// Picture is shown in the thread of a card.
func (vendors) Picture(context.Context, incident.CardRef, incident.Picture) (incident.PictureRef, error) {
	return incident.PictureRef{File: "F1", URL: "https://shop.slack.com/files/F1"}, nil
}

// hurried are the product's activities with less patience for people.
type hurried struct {
	*activities.Activities
	world world
	// kept counts the looks after states.
	kept *atomic.Int32
}

// KeepStates follows one target the first time, and fails to; later there are none.
func (h *hurried) KeepStates(context.Context, activities.KeepInput) (activities.KeepResult, error) {
	if h.kept.Add(1) == 1 {
		return activities.KeepResult{Targets: 1, Failed: []string{"it is away"}}, nil
	}
	return activities.KeepResult{}, nil
}

// at are the activities under the policy that decides an incident.
func (h *hurried) at(key string) *activities.Activities {
	s, err := h.world.of(key)
	if err != nil {
		return h.Activities
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.policy == nil {
		return h.Activities
	}
	own := *h.Activities
	own.Policy = s.policy
	return &own
}

// Decide judges by the policy of the incident.
func (h *hurried) Decide(ctx context.Context, in activities.DecideInput) (activities.DecideResult, error) {
	return h.at(in.Key).Decide(ctx, in)
}

// ExecuteAction executes by the policy of the incident.
func (h *hurried) ExecuteAction(ctx context.Context, in activities.ExecuteInput) (incident.ActionView, error) {
	return h.at(in.Incident).ExecuteAction(ctx, in)
}

// CollectOptions replaces how long people have to decide.
func (h *hurried) CollectOptions(ctx context.Context, in activities.CollectInput) (activities.CollectResult, error) {
	out, err := h.at(in.Key).CollectOptions(ctx, in)
	if s, found := h.world.of(in.Key); found == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.decideWithin > 0 {
			out.DecideWithin = s.decideWithin
		}
	}
	return out, err
}

// WritePostmortem makes a followed postmortem due in a day, so that its first reminder
// is near.
func (h *hurried) WritePostmortem(ctx context.Context, in activities.PostmortemInput) (incident.PostmortemRef, error) {
	if s, err := h.world.of(in.View.Key); err == nil && s.service == "followed" {
		in.View.Postmortem.Due = time.Now().Add(24*time.Hour + time.Second)
	}
	return h.Activities.WritePostmortem(ctx, in)
}
