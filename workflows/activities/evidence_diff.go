package activities

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/aymanbagabas/go-udiff"

	"github.com/backout/backout/workflows/activities/redact"
	"github.com/backout/backout/workflows/incident"
)

// diffCollector is the collector of an item that was worked out from two others.
const diffCollector = "diff"

// diffType is the media type of a unified diff.
const diffType = "text/x-diff; charset=utf-8"

// Bounds of a comparison. They are Backout's own.
const (
	// maxCompared is the longest document that is compared, in bytes.
	maxCompared = 1 << 20
	// maxDiff is the longest diff that is stored whole, in bytes.
	maxDiff = 256 << 10
	// diffContext is how many lines around a difference are shown.
	diffContext = 3
)

// differences compares what was captured after a rollback with what was captured
// before it: an item for each readable document that there is on both sides. What
// can not be compared says why. It fails only when the ledger can not be read.
func (a *Activities) differences(ctx context.Context, in EvidenceInput, after []incident.EvidenceItem) ([]incident.EvidenceItem, error) {
	before, there, err := a.captured(ctx, incident.EvidenceID(in.Rollback, incident.EvidenceBefore), in, incident.EvidenceBefore)
	if err != nil {
		return nil, err
	}
	if !there {
		return []incident.EvidenceItem{{
			Name: "differences", Collector: diffCollector, Missing: "there is no manifest from before the rollback to compare with", At: a.Now().UTC(),
		}}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeBudget)
	defer cancel()
	pairs := counterparts(before.Items)
	var items []incident.EvidenceItem
	for _, now := range after {
		was, ok := pairs.next(now)
		if !ok || was.Digest == "" || now.Digest == "" || !readable(was.MediaType) || !readable(now.MediaType) {
			continue
		}
		items = append(items, a.difference(ctx, was, now))
	}
	return items, nil
}

// pairing finds the counterpart of an item: that of the same collector and name,
// and the second of two alike for the second.
type pairing map[[2]string][]incident.EvidenceItem

func counterparts(items []incident.EvidenceItem) pairing {
	p := pairing{}
	for _, i := range items {
		at := [2]string{i.Collector, i.Name}
		p[at] = append(p[at], i)
	}
	return p
}

func (p pairing) next(of incident.EvidenceItem) (incident.EvidenceItem, bool) {
	at := [2]string{of.Collector, of.Name}
	if len(p[at]) == 0 {
		return incident.EvidenceItem{}, false
	}
	found := p[at][0]
	p[at] = p[at][1:]
	return found, true
}

// difference compares two stored documents and stores the diff.
func (a *Activities) difference(ctx context.Context, was, now incident.EvidenceItem) incident.EvidenceItem {
	item := incident.EvidenceItem{Name: itemName("diff of " + now.Name), Collector: diffCollector, MediaType: diffType, At: a.Now().UTC()}
	diff, changed, err := a.compare(ctx, was, now)
	if err != nil {
		item.Missing = "the documents could not be compared: " + said(err)
		return item
	}
	return a.storeDiff(ctx, item, diff, changed)
}

// storeDifference stores how a document differs from another one, which a collector
// had beside it.
func (a *Activities) storeDifference(ctx context.Context, item incident.EvidenceItem, from, clean []byte) incident.EvidenceItem {
	was, n := redact.Document(from[:min(len(from), maxRead)], item.MediaType)
	item.Redactions += n
	diff, changed, err := unified("from", "to", item.MediaType, was, item.MediaType, clean)
	if err != nil {
		item.Missing = "the documents could not be compared: " + said(err)
		return item
	}
	return a.storeDiff(ctx, item, diff, changed)
}

// storeDiff stores a unified diff as an item.
func (a *Activities) storeDiff(ctx context.Context, item incident.EvidenceItem, diff []byte, changed bool) incident.EvidenceItem {
	item.MediaType = diffType
	kept := cut(diff, maxDiff)
	switch {
	case len(kept) < len(diff):
		item.Note = fmt.Sprintf("cut to %d bytes: the diff has %d", len(kept), len(diff))
	case !changed:
		item.Note = "nothing changed"
	}
	var err error
	if item.Digest, err = a.Evidence.Put(ctx, kept, diffType); err != nil {
		item.Digest, item.Note, item.Missing = "", "", "it was worked out and could not be stored: "+said(err)
		return item
	}
	item.Size = int64(len(kept))
	return item
}

// compare is the unified diff of two stored documents, and whether there is any
// difference.
func (a *Activities) compare(ctx context.Context, was, now incident.EvidenceItem) ([]byte, bool, error) {
	from, to := "before "+was.Digest, "after "+now.Digest
	if was.Digest == now.Digest {
		return unified(from, to, was.MediaType, nil, now.MediaType, nil)
	}
	for _, item := range []incident.EvidenceItem{was, now} {
		if item.Size > maxCompared {
			return nil, false, tooLong(item.Size)
		}
	}
	before, err := a.Evidence.Get(ctx, was.Digest)
	if err != nil {
		return nil, false, err
	}
	after, err := a.Evidence.Get(ctx, now.Digest)
	if err != nil {
		return nil, false, err
	}
	return unified(from, to, was.MediaType, before, now.MediaType, after)
}

func tooLong(size int64) error {
	return fmt.Errorf("the one of %d bytes is longer than %d", size, maxCompared)
}

// unified is the unified diff of two documents, and whether there is any difference.
func unified(from, to, wasType string, was []byte, nowType string, now []byte) ([]byte, bool, error) {
	for _, side := range [][]byte{was, now} {
		if len(side) > maxCompared {
			return nil, false, tooLong(int64(len(side)))
		}
	}
	before, err := inLines(was, wasType)
	if err != nil {
		return nil, false, err
	}
	after, err := inLines(now, nowType)
	if err != nil {
		return nil, false, err
	}
	edits := udiff.Lines(before, after)
	if len(edits) == 0 {
		return fmt.Appendf(nil, "--- %s\n+++ %s\n", from, to), false, nil
	}
	diff, err := udiff.ToUnified(from, to, before, edits, diffContext)
	if err != nil {
		return nil, false, fmt.Errorf("compare: %w", err)
	}
	return []byte(diff), true, nil
}

// inLines is a document as it is compared: JSON with sorted keys, a member a line.
// What only claims to be JSON is compared as it is.
func inLines(content []byte, mediaType string) (string, error) {
	if !utf8.Valid(content) || bytes.IndexByte(content, 0) >= 0 {
		return "", errors.New("one of them is not text")
	}
	text := string(content)
	if structured(mediaType) {
		d := json.NewDecoder(bytes.NewReader(content))
		d.UseNumber()
		var value any
		if err := d.Decode(&value); err == nil && d.Decode(&struct{}{}) == io.EOF {
			var b strings.Builder
			e := json.NewEncoder(&b)
			e.SetEscapeHTML(false)
			e.SetIndent("", "  ")
			if err := e.Encode(value); err != nil {
				return "", fmt.Errorf("spell out JSON: %w", err)
			}
			text = b.String()
		}
	}
	if text != "" && !strings.HasSuffix(text, "\n") {
		text += "\n"
	}
	return text, nil
}
