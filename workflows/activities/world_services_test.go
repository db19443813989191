package activities_test

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/backout/backout/workflows/activities"
	"github.com/backout/backout/workflows/incident"
)

type ledger struct{ w *world }

var errConflict = errors.New("the ledger holds another entry under this ID")

func (l ledger) Append(ctx context.Context, e incident.Entry) (rec incident.Recorded, err error) {
	err = l.w.call(ctx, "append "+string(e.Kind), func() error {
		for i, have := range l.w.entries {
			if have.ID != e.ID {
				continue
			}
			if have.Incident != e.Incident || have.Kind != e.Kind || have.Text != e.Text || string(have.Payload) != string(e.Payload) {
				return errConflict
			}
			rec = incident.Recorded{ID: e.ID, Seq: int64(i + 1), At: have.At, Existed: true}
			return nil
		}
		l.w.entries = append(l.w.entries, e)
		rec = incident.Recorded{ID: e.ID, Seq: int64(len(l.w.entries)), At: e.At}
		return nil
	})
	return rec, err
}

func (l ledger) AppendAll(ctx context.Context, entries []incident.Entry) (out []incident.Recorded, err error) {
	was := slices.Clone(l.w.entries)
	for _, e := range entries {
		rec, err := l.Append(ctx, e)
		if err != nil {
			l.w.entries = was
			return nil, err
		}
		out = append(out, rec)
	}
	return out, nil
}

func (l ledger) Get(ctx context.Context, id string) (e incident.Entry, ok bool, err error) {
	err = l.w.call(ctx, "get", func() error {
		i := slices.IndexFunc(l.w.entries, func(e incident.Entry) bool { return e.ID == id })
		if ok = i >= 0; ok {
			e = l.w.entries[i]
		}
		return nil
	})
	return e, ok && err == nil, err
}

func (l ledger) Of(ctx context.Context, of string, kind incident.EventKind) (out []incident.Entry, err error) {
	err = l.w.call(ctx, "list "+string(kind), func() error {
		for _, e := range l.w.entries {
			if e.Incident == of && e.Kind == kind {
				out = append(out, e)
			}
		}
		return nil
	})
	return out, err
}

type store struct{ w *world }

func (s store) Put(ctx context.Context, content []byte, _ string) (digest string, err error) {
	digest = incident.DigestOf(content)
	return digest, s.w.call(ctx, "put", func() error { s.w.blobs[digest] = slices.Clone(content); return nil })
}

func (s store) Get(ctx context.Context, digest string) (content []byte, err error) {
	err = s.w.call(ctx, "read", func() error {
		var ok bool
		if content, ok = s.w.blobs[digest]; !ok {
			return fmt.Errorf("get %s: no such document", digest)
		}
		return nil
	})
	return content, err
}

type directory struct{ w *world }

func (d directory) Identify(ctx context.Context, a incident.Actor) (p incident.Person, err error) {
	err = d.w.call(ctx, "identify", func() error {
		var ok bool
		if p, ok = d.w.people[a.String()]; !ok {
			return fmt.Errorf("identify %q: %w", a, incident.ErrNoIdentity)
		}
		return nil
	})
	return p, err
}

// channel shows cards and says lines in their threads.
type channel struct {
	activities.Channel
	w *world
}

func (c channel) Publish(ctx context.Context, v incident.View) (ref incident.CardRef, err error) {
	err = c.w.call(ctx, "publish "+v.Key, func() error {
		ref = incident.CardRef{Channel: "C1", TS: "1.1"}
		return nil
	})
	return ref, err
}

func (c channel) Say(ctx context.Context, card incident.CardRef, id, text string) error {
	return c.w.call(ctx, "say "+card.Channel+" "+card.TS+" "+id+" "+text, func() error { return nil })
}

type pager struct{ w *world }

func (p pager) Escalate(ctx context.Context, id, reason string) error {
	return p.w.call(ctx, "escalate "+id+" "+reason, func() error { return nil })
}

func (p pager) Note(ctx context.Context, id, noteID, _ string) error {
	return p.w.call(ctx, "note "+id+" "+noteID, func() error { return nil })
}

func (p pager) Open(ctx context.Context) (pages []incident.Page, err error) {
	return p.w.pages, p.w.call(ctx, "open", func() error { return nil })
}

func (p pager) OnCall(ctx context.Context, service string) (on []incident.Person, err error) {
	err = p.w.call(ctx, "on call "+service, func() error { on = p.w.onCall[service]; return nil })
	return on, err
}
