package unleash

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/backout/backout/workflows/incident"
)

const (
	// maxEvents is how many events of a flag are read, the newest first; it is
	// Unleash's greatest page.
	// Source: https://docs.getunleash.io/api/search-events
	maxEvents = 1000
	// reads is how often a flag and its log are read until they agree: between the
	// two somebody may have changed the flag.
	reads = 4
	// unrecorded is the revision of a state of which the log knows nothing.
	unrecorded = "unrecorded"
)

// The events that change the state of a flag in an environment.
// Source: https://docs.getunleash.io/reference/events
const (
	flagCreated     = "feature-created"
	turnedOn        = "feature-environment-enabled"
	turnedOff       = "feature-environment-disabled"
	strategyAdded   = "feature-strategy-add"
	strategyUpdated = "feature-strategy-update"
	strategyRemoved = "feature-strategy-remove"
	strategySorted  = "strategy-order-changed"
	variantsUpdated = "feature-environment-variants-updated"
)

// opaque are the events of a flag, and of a whole environment, that change flags
// without saying what.
var (
	opaque     = []string{"feature-revived", "feature-project-change", "feature-import", "feature-variants-updated", "feature-updated"}
	opaqueWide = []string{"features-imported", "environment-import", "project-environment-added", "project-environment-removed"}
)

// event is one line of the event log.
type event struct {
	ID          int64           `json:"id"`
	Type        string          `json:"type"`
	At          time.Time       `json:"createdAt"`
	Author      string          `json:"createdBy"`
	By          int             `json:"createdByUserId"`
	Environment string          `json:"environment"`
	Group       string          `json:"groupId"`
	Data        json.RawMessage `json:"data"`
	Before      json.RawMessage `json:"preData"`
}

// search reads a page of the event log, newest first.
func (c *connection) search(ctx context.Context, what string, query url.Values, limit int) ([]event, error) {
	query.Set("limit", strconv.Itoa(limit))
	var answer struct {
		Events []event `json:"events"`
		Total  int     `json:"total"`
	}
	if err := c.call(ctx, http.MethodGet, what, "/search/events", query, nil, &answer); err != nil {
		return nil, err
	}
	// Unleash answers with no event when its database fails.
	if len(answer.Events) < min(answer.Total, limit) {
		return nil, fmt.Errorf("%s: Unleash answered with %d of %d events", what, len(answer.Events), answer.Total)
	}
	slices.SortFunc(answer.Events, func(a, b event) int { return cmp.Compare(b.ID, a.ID) })
	return answer.Events, nil
}

// log reads the events that changed a flag in an environment, newest first, at most
// limit of the flag's.
func (c *connection) log(ctx context.Context, at location, limit int) ([]event, error) {
	all, err := c.search(ctx, "read log of flag "+at.flag, url.Values{"feature": {"IS:" + at.flag}}, limit)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(e event) bool {
		if e.Environment == at.environment {
			return false
		}
		return e.Environment != "" || e.Type != flagCreated && !slices.Contains(opaque, e.Type)
	}), nil
}

// barrier is the ID of the newest event that changed flags of the environment
// without saying what; 0 when there is none.
func (c *connection) barrier(ctx context.Context, at location) (int64, error) {
	found, err := c.search(ctx, "read log of environment "+at.environment, url.Values{
		"project": {"IS:" + at.project}, "environment": {"IS:" + at.environment}, "type": {"IS_ANY_OF:" + strings.Join(opaqueWide, ",")},
	}, 1)
	if err != nil || len(found) == 0 {
		return 0, err
	}
	return found[0].ID, nil
}

// moment is a state that the flag took on. All events of one request are one moment.
type moment struct {
	content
	digest string
	// id is that of the last event of the moment, first that of its first; both are
	// 0 for a present state of which the log knows nothing.
	id, first int64
	at        time.Time
	author    string
	by        int
	// created says that the flag was made then.
	created bool
}

func (m moment) state() incident.State {
	revision := unrecorded
	if m.id > 0 {
		revision = strconv.FormatInt(m.id, 10)
	}
	return incident.State{Revision: revision, Digest: m.digest, Label: m.label()}
}

// name is what people call the state within a sentence.
func (m moment) name() string {
	if m.id == 0 {
		return "a state that the log does not know"
	}
	return fmt.Sprintf("event %d (%s)", m.id, m.label())
}

// detail is one line for people about a state that was observed.
func (m moment) detail() string {
	if m.id == 0 {
		return m.label() + "; the log does not say since when"
	}
	return fmt.Sprintf("%s since %s by %s", m.name(), m.at.UTC().Format(time.RFC3339), oneLine(m.author, maxLabel))
}

// history is a flag in one environment with what can be known of its past.
type history struct {
	present
	// moments are the states that it took on, the present one first. At least one.
	moments []moment
	// whole says that the moments reach back to when the flag was made; end says why
	// they do not.
	whole bool
	end   string
	// last is the ID of the newest event.
	last int64
}

func (h history) now() moment { return h.moments[0] }

// byDigest finds the newest moment with a digest.
func (h history) byDigest(digest string) (moment, bool) {
	at := slices.IndexFunc(h.moments, func(m moment) bool { return m.digest == digest })
	if at < 0 {
		return moment{}, false
	}
	return h.moments[at], true
}

// before finds the state that was in force just before a time.
func (h history) before(when time.Time) (moment, bool) {
	at := slices.IndexFunc(h.moments, func(m moment) bool { return m.id > 0 && m.at.Before(when) })
	if at < 0 {
		return moment{}, false
	}
	return h.moments[at], true
}

// byEvent finds the moment that an event belongs to.
func (h history) byEvent(id int64) (moment, bool) {
	at := slices.IndexFunc(h.moments, func(m moment) bool { return m.id > 0 && m.first <= id && id <= m.id })
	if at < 0 {
		return moment{}, false
	}
	return h.moments[at], true
}

// history reads a flag and its log until they agree.
func (c *connection) history(ctx context.Context, at location) (history, error) {
	var h history
	for range reads {
		// The flag first: an event that came after it contradicts it, and an event
		// that came before it is in the log.
		now, err := c.flag(ctx, at)
		if err != nil {
			return history{}, err
		}
		events, err := c.log(ctx, at, maxEvents)
		if err != nil {
			return history{}, err
		}
		barrier, err := c.barrier(ctx, at)
		if err != nil {
			return history{}, err
		}
		h = history{present: now}
		if err := h.walk(events, barrier); err != nil {
			return history{}, err
		}
		if h.end == "" || len(h.moments) > 1 {
			break
		}
	}
	return h, nil
}

// recentEvents is how many events are read to know the newest that concerns an
// environment. Where it is not among them, all are read.
const recentEvents = 20

// now reads a flag with the newest event of it, and nothing of its past.
func (c *connection) now(ctx context.Context, at location) (moment, error) {
	flag, err := c.flag(ctx, at)
	if err != nil {
		return moment{}, err
	}
	events, err := c.log(ctx, at, recentEvents)
	if err == nil && len(events) == 0 {
		events, err = c.log(ctx, at, maxEvents)
	}
	if err != nil {
		return moment{}, err
	}
	digest, err := flag.digest()
	if err != nil {
		return moment{}, err
	}
	m := moment{content: flag.content, digest: digest}
	if len(events) > 0 {
		m.id, m.first, m.at, m.author, m.by = events[0].ID, events[0].ID, events[0].At, events[0].Author, events[0].By
	}
	return m, nil
}

// errUnexplained means that an event does not explain what is there.
var errUnexplained = errors.New("the event does not explain the flag")

// walk takes one event back after the other, newest first.
func (h *history) walk(events []event, barrier int64) error {
	state := h.clone()
	digest, err := state.digest()
	if err != nil {
		return err
	}
	if len(events) == 0 || events[0].ID < barrier {
		h.moments = []moment{{content: state, digest: digest}}
		h.end = "the log says nothing about the present state"
		return nil
	}
	h.last = events[0].ID
	segments := segmentsBefore(events)
	for len(events) > 0 {
		group := events[:1]
		for len(group) < len(events) && group[0].Group != "" && events[len(group)].Group == group[0].Group {
			group = events[:len(group)+1]
		}
		events = events[len(group):]
		newest, oldest := group[0], group[len(group)-1]
		m := moment{content: state.clone(), digest: digest, id: newest.ID, first: oldest.ID, at: newest.At, author: newest.Author, by: newest.By}
		for _, e := range group {
			m.created = m.created || e.Type == flagCreated
		}
		for _, e := range group {
			if err := state.takeBack(e, segments); err != nil {
				h.moments = append(h.moments, m)
				h.end = fmt.Sprintf("event %d does not say what was there before", e.ID)
				return nil
			}
		}
		h.moments = append(h.moments, m)
		if m.created {
			h.whole = true
			return nil
		}
		if len(events) > 0 && events[0].ID < barrier {
			h.end = fmt.Sprintf("event %d changed flags of the environment without saying what", barrier)
			return nil
		}
		if digest, err = state.digest(); err != nil {
			return err
		}
	}
	h.end = "the log was cut or is longer than Backout reads"
	return nil
}

// segmentsBefore says for each event that removed a strategy which segments that
// had: the event itself does not know them.
func segmentsBefore(events []event) map[int64][]int64 {
	found := map[int64][]int64{}
	known := map[string][]int64{}
	for _, e := range slices.Backward(events) { // Oldest first.
		switch e.Type {
		case strategyAdded, strategyUpdated:
			if s, err := decodeStrategy(e.Data); err == nil {
				known[s.ID] = s.Segments
			}
		case strategyRemoved:
			if s, err := decodeStrategy(e.Before); err == nil {
				if segments, ok := known[s.ID]; ok {
					found[e.ID] = segments
				}
			}
		}
	}
	return found
}

func decodeStrategy(raw json.RawMessage) (strategy, error) {
	var s strategy
	if err := decode(raw, &s); err != nil || s.ID == "" {
		return strategy{}, errUnexplained
	}
	return s, nil
}

func decode(raw json.RawMessage, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if err := decoder.Decode(into); err != nil {
		return errUnexplained // The decoder's error may quote the flag.
	}
	return nil
}

// takeBack makes of the state after an event the one before it. It fails when the
// state is not what the event says.
func (c *content) takeBack(e event, segments map[int64][]int64) error {
	switch e.Type {
	case flagCreated:
		if c.enabled || len(c.strategies) > 0 {
			return errUnexplained
		}
		return nil
	case turnedOn, turnedOff:
		if c.enabled != (e.Type == turnedOn) {
			return errUnexplained
		}
		c.enabled = !c.enabled
		return nil
	case strategyAdded:
		added, err := decodeStrategy(e.Data)
		if err != nil {
			return err
		}
		at := c.find(added.ID)
		if at < 0 || !c.strategies[at].same(added) {
			return errUnexplained
		}
		c.strategies = slices.Delete(c.strategies, at, at+1)
		return nil
	case strategyRemoved:
		removed, err := decodeStrategy(e.Before)
		known, ok := segments[e.ID]
		if err != nil || !ok || c.find(removed.ID) >= 0 {
			return errUnexplained
		}
		removed.Segments = known
		c.strategies = append(c.strategies, removed)
		c.sort()
		return nil
	case strategyUpdated:
		after, errAfter := decodeStrategy(e.Data)
		before, errBefore := decodeStrategy(e.Before)
		at := c.find(after.ID)
		if errAfter != nil || errBefore != nil || before.ID != after.ID || at < 0 || !c.strategies[at].same(after) {
			return errUnexplained
		}
		before.SortOrder = c.strategies[at].SortOrder
		c.strategies[at] = before
		return nil
	case strategySorted:
		return c.unsort(e)
	case variantsUpdated:
		var before, after struct {
			Variants []any `json:"variants"`
		}
		if decode(e.Data, &after) != nil || decode(e.Before, &before) != nil || !equal(orEmpty(after.Variants), orEmpty(c.variants)) {
			return errUnexplained
		}
		c.variants = before.Variants
		return nil
	default:
		return errUnexplained
	}
}

// unsort takes back that the strategies were sorted.
func (c *content) unsort(e event) error {
	var before, after struct {
		IDs []string `json:"strategyIds"`
	}
	if decode(e.Data, &after) != nil || decode(e.Before, &before) != nil || len(before.IDs) != len(c.strategies) || len(after.IDs) != len(c.strategies) {
		return errUnexplained
	}
	sorted := make([]strategy, 0, len(c.strategies))
	for place, id := range before.IDs {
		at := c.find(id)
		if at < 0 || c.strategies[place].ID != after.IDs[place] {
			return errUnexplained
		}
		s := c.strategies[at]
		s.SortOrder = int64(place)
		sorted = append(sorted, s)
	}
	c.strategies = sorted
	return nil
}
