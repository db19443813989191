package gitops

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/backout/backout/integrations/driver"
)

func init() {
	driver.RegisterCollector(kind, systemType, func(c cluster) driver.Collector { return collector{client: dial(c), now: time.Now} })
}

// collector describes how a target applies Git.
type collector struct {
	client *client
	now    func() time.Time
}

// description is the evidence.
type description struct {
	Target     string      `json:"target"`
	State      string      `json:"state"`
	Setting    setting     `json:"setting"`
	Hold       *heldBy     `json:"hold,omitempty"`
	Running    string      `json:"running,omitempty"`
	Applied    string      `json:"applied_revision,omitempty"`
	Attempted  string      `json:"attempted_revision,omitempty"`
	Sync       string      `json:"sync_status,omitempty"`
	Health     string      `json:"health_status,omitempty"`
	Conditions []condition `json:"conditions,omitempty"`
}

type heldBy struct {
	By      string    `json:"by"`
	Reason  string    `json:"reason"`
	Since   time.Time `json:"since"`
	Expires time.Time `json:"expires"`
	Overdue bool      `json:"overdue"`
	Broken  bool      `json:"broken,omitempty"`
}

// condition is one condition of Flux's, without its message, which quotes what it
// applies.
type condition struct {
	Type   string `json:"type"`
	Status string `json:"status"`
	Reason string `json:"reason"`
}

// Collect returns one JSON document.
func (s collector) Collect(ctx context.Context, req driver.CollectRequest) ([]driver.Evidence, error) {
	ref, err := parseTarget(req.Target)
	if err != nil {
		return nil, err
	}
	if err := driver.NoParams(kind, req.Params); err != nil {
		return nil, fmt.Errorf("collect %s: %w", req.Target, err)
	}
	p, err := s.client.present(ctx, ref)
	if err != nil {
		return nil, fmt.Errorf("collect %s: %w", req.Target, err)
	}
	content, err := json.MarshalIndent(p.describe(s.now()), "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode description of %s: %w", req.Target, err)
	}
	return []driver.Evidence{{Name: kind + " " + req.Target.Path, MediaType: "application/json", Content: content}}, nil
}

// describe tells what is not text of people's.
func (p present) describe(now time.Time) description {
	text := func(path ...string) string {
		found, _, _ := unstructured.NestedString(p.live.Object, path...) // Absent and malformed are both nothing to tell.
		return oneLine(found, maxText)
	}
	doc := description{
		Target: p.String(), State: p.named(p.setting, p.hold != nil), Setting: p.setting, Running: p.running(p.live),
		Applied: text("status", "lastAppliedRevision"), Attempted: text("status", "lastAttemptedRevision"),
		Sync: text("status", "sync", "status"), Health: text("status", "health", "status"),
	}
	if doc.Applied == "" {
		doc.Applied = text("status", "sync", "revision")
	}
	if h := p.hold; h != nil {
		doc.Hold = &heldBy{By: h.by, Reason: h.reason, Since: h.since, Expires: h.expires, Overdue: h.overdue(now), Broken: h.broken}
	}
	conditions, _, _ := unstructured.NestedSlice(p.live.Object, "status", "conditions")
	for _, item := range conditions {
		fields, _ := item.(map[string]any)
		word := func(name string) string { text, _ := fields[name].(string); return oneLine(text, maxText) }
		doc.Conditions = append(doc.Conditions, condition{Type: word("type"), Status: word("status"), Reason: word("reason")})
	}
	return doc
}
