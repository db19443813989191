package pagerduty

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// The names under which the package registers itself.
const (
	systemType   = "pagerduty"
	changeSource = "pagerduty.changes"
)

// maxSummary is the longest summary kept of a change, in runes.
const maxSummary = 300

func init() {
	driver.RegisterSystem(systemType, open)
	driver.RegisterSource(changeSource, systemType, func(c *Client) driver.ChangeSource { return changes{c} })
}

// Settings are the configuration of one PagerDuty account as a system.
type Settings struct {
	// URL is as in Options.
	URL string `yaml:"url" json:"url"`
	// TokenFile holds a REST API token; read-only is enough for a system.
	TokenFile string `yaml:"token_file" json:"token_file"`
}

// open makes the client and sends nothing: an account that is out of reach
// must not keep Backout from starting.
func open(_ context.Context, s driver.System) (*Client, error) {
	var settings Settings
	if err := s.Decode(&settings); err != nil {
		return nil, fmt.Errorf("decode settings: %w", err)
	}
	return New(Options{URL: settings.URL, TokenFile: settings.TokenFile})
}

// changes lists the change events of a service.
type changes struct{ client *Client }

type changeEvent struct {
	ID        string    `json:"id"`
	Summary   string    `json:"summary"`
	Source    string    `json:"source"`
	Timestamp time.Time `json:"timestamp"`
	Links     []struct {
		Href string `json:"href"`
	} `json:"links"`
}

// Changes lists the change events of the service that the target's path names
// by its PagerDuty ID. A change event does not say what it changed absolutely,
// so the changes have no target.
func (s changes) Changes(ctx context.Context, q driver.ChangeQuery) ([]incident.Change, error) {
	if err := checkID(q.Target.Path); err != nil {
		return nil, err
	}
	kind := q.Kind
	if kind == "" {
		kind = incident.ChangeDeploy
	}
	var found []incident.Change
	for offset := 0; ; offset += pageSize {
		if offset+pageSize > maxOffset {
			return nil, fmt.Errorf("list change events of service %q: more than %d", q.Target.Path, maxOffset)
		}
		page, more, err := s.client.changeEvents(ctx, q, offset)
		if err != nil {
			return nil, err
		}
		for _, e := range page {
			if e.Timestamp.Before(q.Since.Truncate(time.Second)) || e.Timestamp.After(q.Until) {
				continue
			}
			change := incident.Change{
				ID: e.ID, Source: changeSource, Kind: kind, Service: q.Service, At: e.Timestamp.UTC(),
				Author: e.Source, Summary: cut(strings.Join(strings.Fields(e.Summary), " "), maxSummary),
			}
			if len(e.Links) > 0 {
				change.URL = webAddress(e.Links[0].Href)
			}
			found = append(found, change)
		}
		if !more {
			slices.SortStableFunc(found, func(a, b incident.Change) int { return a.At.Compare(b.At) })
			return found, nil
		}
	}
}

// changeEvents reads one page. The library has no call for it.
func (c *Client) changeEvents(ctx context.Context, q driver.ChangeQuery, offset int) ([]changeEvent, bool, error) {
	type answer struct {
		Events []changeEvent `json:"change_events"`
		More   bool          `json:"more"`
	}
	// PagerDuty takes whole seconds in UTC here, and no offset.
	const layout = "2006-01-02T15:04:05Z"
	query := url.Values{
		"since": {q.Since.UTC().Format(layout)}, "until": {q.Until.UTC().Add(time.Second).Format(layout)},
		"limit": {strconv.Itoa(pageSize)}, "offset": {strconv.Itoa(offset)},
	}
	got, err := call(ctx, fmt.Sprintf("list change events of service %q", q.Target.Path), func(ctx context.Context) (answer, error) {
		var a answer
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.opts.URL+"/services/"+q.Target.Path+"/change_events?"+query.Encode(), http.NoBody)
		if err != nil {
			return a, fmt.Errorf("build request: %w", err)
		}
		req.Header.Set("Accept", "application/vnd.pagerduty+json;version=2")
		resp, err := c.http.Do(req)
		if err != nil {
			return a, err
		}
		defer func() { _ = resp.Body.Close() }()
		if resp.StatusCode != http.StatusOK {
			return a, fmt.Errorf("answer is %d", resp.StatusCode)
		}
		return a, json.NewDecoder(resp.Body).Decode(&a)
	})
	return got.Events, got.More, err
}
