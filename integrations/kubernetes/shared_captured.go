package kubernetes

import (
	"context"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// What kinds of other packages use of the states that are captured of objects; see
// shared.go.

// ObjectRecorder returns the recorder of "kubernetes.object".
func (c *cluster) ObjectRecorder() driver.Recorder { return recorder{c} }

// ObjectHistory reads an object by its path of "kubernetes.object", and tells the
// moments at which a state of it was put in place, oldest first, the last of which is
// the present one. bound says that at is only the earliest possible moment, captured
// whether the state is kept. content is all of the object but its type, metadata and
// status, and must not be changed.
func (c *cluster) ObjectHistory(ctx context.Context, path string, tell func(number int64, at time.Time, bound, captured bool, author string, content map[string]any)) (live *unstructured.Unstructured, err error) {
	ref, err := parseObject(incident.Target{System: c.name, Path: path})
	if err != nil {
		return nil, err
	}
	present, err := c.object(ctx, ref)
	if err != nil {
		return nil, err
	}
	for _, m := range present.moments(c.Author(present.live)) {
		number := m.Number
		if m.kept && !slices.ContainsFunc(m.state.placed, func(at placed) bool { return at.Number == number }) {
			number = m.state.number // It came back, and nobody has noted that yet.
		}
		tell(number, m.At, m.Bound, m.kept, m.Author, m.content)
	}
	return present.live, nil
}

// CaptureObject keeps the present state of an object, if the latest captured one is
// another.
func (c *cluster) CaptureObject(ctx context.Context, path string) error {
	ref, err := parseObject(incident.Target{System: c.name, Path: path})
	if err != nil {
		return err
	}
	present, err := c.object(ctx, ref)
	if err != nil {
		return err
	}
	if _, err := c.capture(ctx, present); err != nil {
		return fmt.Errorf("capture %s: %w", path, err)
	}
	return nil
}
