package rest

import (
	"net/http"
	"slices"
	"sync"
	"time"
)

// Fault is a misbehaviour that a test switches on for some requests.
type Fault struct {
	// Method limits the fault to one HTTP method; empty means any.
	Method string
	// Path is a path template of an operation, such as /incidents/{id};
	// empty means any.
	Path string
	// Status, when not 0, is answered in the vendor's error envelope.
	// Nothing takes effect.
	Status int
	// RetryAfter is sent as a Retry-After header in whole seconds when it is
	// not 0.
	RetryAfter time.Duration
	// Header is added to the answer.
	Header http.Header
	// Body replaces the vendor's error envelope when it is not nil.
	Body any
	// Drop closes the connection with no answer before anything takes effect.
	Drop bool
	// DropReply lets the request take effect and then closes the connection
	// with no answer.
	DropReply bool
	// Delay is waited before the request is handled; it ends early when the
	// client goes away or the stand-in closes.
	Delay time.Duration
	// Times is how many requests it strikes; 0 means until it is removed.
	Times int
}

// faults is the set of faults that are switched on.
type faults struct {
	mu  sync.Mutex
	set []*Fault
}

// add switches a fault on and returns what switches it off.
func (f *faults) add(fault Fault) func() {
	f.mu.Lock()
	defer f.mu.Unlock()
	mine := &fault
	if mine.Times == 0 {
		mine.Times = -1
	}
	f.set = append(f.set, mine)
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.set = slices.DeleteFunc(f.set, func(other *Fault) bool { return other == mine })
	}
}

// take returns the oldest fault that strikes the operation and spends one of
// its times.
func (f *faults) take(method, template string) (Fault, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, fault := range f.set {
		if (fault.Method != "" && fault.Method != method) || (fault.Path != "" && fault.Path != template) {
			continue
		}
		struck := *fault
		if fault.Times > 0 {
			fault.Times--
		}
		if fault.Times == 0 {
			f.set = slices.Delete(f.set, i, i+1)
		}
		return struck, true
	}
	return Fault{}, false
}
