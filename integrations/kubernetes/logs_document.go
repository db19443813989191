package kubernetes

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// document is what people read: a table of all logs, and then each, indented, so that
// no line of a log can be taken for one of the document's own.
func (f foundLogs) document(ref reference, asked time.Time, wanted logRequest) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "Logs of %s at %s. In place: %s.\n", ref, asked.Format(time.RFC3339), f.inPlace)
	for _, name := range slices.Sorted(maps.Keys(f.pods)) {
		fmt.Fprintf(&b, "Pods of %s: %d.\n", name, f.pods[name])
	}
	if len(f.pods) == 0 {
		fmt.Fprintln(&b, "There are no pods.")
	}
	fmt.Fprintf(&b, "The last %d lines of each, at most %d KiB, first what would be lost first.\n", wanted.lines, maxLogKept>>10)
	if len(wanted.containers) > 0 {
		fmt.Fprintf(&b, "Containers asked for: %s.\n", strings.Join(wanted.containers, ", "))
	}
	if f.quiet > 0 {
		fmt.Fprintf(&b, "Not asked: %d pods of other revisions that are ready.\n", f.quiet)
	}
	if f.beyond > 0 {
		fmt.Fprintf(&b, "LEFT OUT: %d logs beyond the first %d.\n", f.beyond, maxLogs)
	}
	fmt.Fprintln(&b)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(w, "NO\tPOD\tCONTAINER\tRUN\tLINES\tBYTES\tSTATE\tNOTE") // A buffer takes all.
	for i, c := range f.logs {
		_, _ = fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%d\t%d\t%s\t%s\n", i+1, c.pod, c.container, c.run, len(c.lines()), c.bytes, c.state, c.note())
	}
	_ = w.Flush()
	for i, c := range f.logs {
		if c.bytes == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n=== %d %s %s, %s run, %s: %s\n", i+1, c.pod, c.container, c.run, c.revision, c.state)
		if c.left > 0 {
			fmt.Fprintf(&b, "=== left out before this: %d bytes\n", c.left)
		}
		for _, line := range c.lines() {
			fmt.Fprintf(&b, "  %s\n", line)
		}
		if note := c.note(); note != "" {
			fmt.Fprintf(&b, "=== %s\n", note)
		}
	}
	return b.Bytes()
}

// note is what has to be known of a log, on one line; empty when it is whole.
func (c *containerLog) note() string {
	switch missing := c.missing(); {
	case missing != "" && c.bytes == 0:
		return "MISSING: " + missing
	case missing != "":
		return "NOT WHOLE: " + missing
	case c.short:
		return fmt.Sprintf("NOT WHOLE: one line is longer than %d MiB, and what comes after it is missing", maxLogRead>>20)
	case c.cut:
		return "NOT WHOLE: it ends in the middle of a line"
	case c.bytes == 0:
		return "nothing was written"
	default:
		return ""
	}
}
