package driver

import (
	"fmt"

	"github.com/backout/backout/workflows/incident"
)

// Findings are the checks of a plan, in the order made. The zero value is empty
// and ready.
type Findings []incident.Preflight

func (f *Findings) add(result incident.PreflightResult, name, format string, args ...any) {
	*f = append(*f, incident.Preflight{Name: name, Result: result, Reason: fmt.Sprintf(format, args...)})
}

// Pass notes a check that stands in nobody's way.
func (f *Findings) Pass(name, format string, args ...any) {
	f.add(incident.PreflightOK, name, format, args...)
}

// Warn notes what people should know, and that blocks nothing.
func (f *Findings) Warn(name, format string, args ...any) {
	f.add(incident.PreflightWarning, name, format, args...)
}

// Unknown notes a check that could not be made.
func (f *Findings) Unknown(name, format string, args ...any) {
	f.add(incident.PreflightUnknown, name, format, args...)
}

// Block notes what stands in the way of the rollback, in one plain sentence.
func (f *Findings) Block(name, format string, args ...any) {
	f.add(incident.PreflightBlocked, name, format, args...)
}

// Blocked reports whether anything stands in the way.
func (f Findings) Blocked() bool { return Planned{Preflight: f}.Blocked() }
