package kubernetes

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/backout/backout/integrations/driver"
)

// diffCollector is the name of the collector.
const diffCollector = "kubernetes.diff"

const (
	// maxDiffs is how many other revisions the one in place is held against: those
	// that a Deployment keeps by default.
	// Source: https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#revision-history-limit
	maxDiffs = 10
	// maxDiffLines bounds the lines of one comparison. What is left out is counted.
	maxDiffLines = 300
)

func init() {
	driver.RegisterCollector(diffCollector, systemType, func(c *cluster) driver.Collector { return diff{c} })
}

// diff captures what going back would change: the pod template in place, held against
// each other revision in the history. It shows no value of an environment variable,
// no command, argument or annotation, and no text of a field that it does not know:
// of those it says that they differ.
type diff struct{ cluster *cluster }

// Collect returns one text document.
func (d diff) Collect(ctx context.Context, req driver.CollectRequest) ([]driver.Evidence, error) {
	ref, err := parseTarget(req.Target)
	if err != nil {
		return nil, err
	}
	if err := driver.NoParams(diffCollector, req.Params); err != nil {
		return nil, fmt.Errorf("collect %s: %w", req.Target, err)
	}
	w, err := d.cluster.workload(ctx, ref)
	if err != nil {
		return nil, fmt.Errorf("collect %s: %w", req.Target, err)
	}
	return []driver.Evidence{{
		Name:      diffCollector + " " + ref.String(),
		MediaType: "text/plain; charset=utf-8",
		Content:   w.differences(d.cluster.now().UTC()),
	}}, nil
}

// differences is the document: for each other revision, the latest first, what it
// would change.
func (w workload) differences(asked time.Time) []byte {
	var b bytes.Buffer
	inPlace := fmt.Sprintf("a template that is not in the history (%s)", w.template.label())
	if rev, ok := w.history.byDigest(w.digest); ok {
		inPlace = rev.name()
	}
	fmt.Fprintf(&b, "Pod template of %s at %s. In place: %s.\n", w.reference, asked.Format(time.RFC3339), inPlace)
	fmt.Fprint(&b, "What each other revision would change: \"~\" another value, \"-\" goes, \"+\" comes.\nValues of environment variables, commands, arguments and annotations are hidden.\n")
	present := flatten(w.template)
	shown, left := 0, 0
	for _, rev := range slices.Backward(w.history.revisions) {
		if rev.digest == w.digest {
			continue
		}
		if shown == maxDiffs {
			left++
			continue
		}
		shown++
		fmt.Fprintf(&b, "\n=== %s, deployed first at %s\n", rev.name(), rev.created.Format(time.RFC3339))
		lines := present.changes(flatten(rev.template))
		for _, line := range lines[:min(len(lines), maxDiffLines)] {
			fmt.Fprintf(&b, "%s\n", line)
		}
		if extra := len(lines) - maxDiffLines; extra > 0 {
			fmt.Fprintf(&b, "LEFT OUT: %d lines.\n", extra)
		}
	}
	switch {
	case left > 0:
		fmt.Fprintf(&b, "\nLEFT OUT: %d older revisions.\n", left)
	case shown == 0:
		fmt.Fprint(&b, "\nThe cluster keeps no other revision.\n")
	}
	return b.Bytes()
}
