package drivertest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/backout/backout/integrations/driver"
)

// Case is one kind of inverse with its real counterpart.
type Case struct {
	// Kind is the registered kind, such as "nats.kv".
	Kind string
	// Form tells the cases of one kind apart, such as "StatefulSet". It is one of
	// the descriptor's forms, or another that is worth trying. It may be empty.
	Form string
	// Start makes a fresh target, which no other test touches, with a history to
	// go back in. It is called many times.
	Start func(tb testing.TB) *Target
	// OneWay makes a target that has no way back although the kind is reversible:
	// what the descriptor's OneWay speaks of. One case of such a kind sets it.
	OneWay func(tb testing.TB) *Target
	// Preflight says how each condition is brought about. Every condition needs
	// an entry.
	Preflight map[Condition]Scenario
	// NeverThrottled is the reason why the system does not throttle; when it is
	// empty, Target.Throttle must be set.
	NeverThrottled string
	// Overwrites is the reason why a change by somebody else that arrives in the moment
	// of the write can not be kept from being overwritten: the system has no
	// compare-and-set. The kind has to see such a change, put it back at once, and
	// refuse. Empty where the system compares and sets.
	Overwrites string
	// NotRemote is the reason why there is no connection that could be cut, such
	// as for a program that is run; when it is empty, Target.Upstream must be
	// set.
	NotRemote string
}

// Target is a fresh target on the real system, and the means to look at it past
// the driver. Its functions are safe for concurrent use.
type Target struct {
	// Request is what to plan. The suite sets the name of the system.
	Request driver.PlanRequest
	// Upstream is the TCP address of the real system.
	Upstream string
	// Connect is the configuration of a connection to the system at an address,
	// which is that of the suite's proxy before Upstream.
	Connect func(address string, as Credential) driver.System
	// Digest is a digest of the state, read past the driver: whatever the inverse
	// is to restore, and nothing that counts versions.
	Digest func(ctx context.Context) (string, error)
	// Mutations counts the changes that the target ever saw, from its own
	// history.
	Mutations func(ctx context.Context) (int, error)
	// Interfere changes the target as a third party would, to a state that is
	// neither the present one nor the wanted one.
	Interfere func(ctx context.Context) error
	// Difference is what the refusal must say after Interfere.
	Difference string
	// Throttle makes the system throttle the next request.
	Throttle func(ctx context.Context) error
	// Canaries are the secrets that were planted: in the credentials, in the
	// state, wherever the driver comes by. At least one, of 8 bytes or more.
	Canaries []string
	// MaxTime bounds a rollback of this target on a slow machine; 0 is 30 s.
	MaxTime time.Duration
}

// Credential says what a connection may do. The zero value is invalid.
type Credential int

// The credentials of a target.
const (
	// Owner has exactly what the kind's descriptor asks for.
	Owner Credential = iota + 1
	// Reader has the same without the right to change the target.
	Reader
)

// Condition is one thing that can stand in the way of a rollback. The zero value
// is invalid.
type Condition string

// The conditions that a plan must find.
const (
	// MissingTarget means that the target itself does not exist.
	MissingTarget Condition = "missing-target"
	// MissingRevision means that what to go back to is gone.
	MissingRevision Condition = "missing-revision"
	// DeployInFlight means that a change of the target is under way.
	DeployInFlight Condition = "deploy-in-flight"
	// ClosedWindow means that it is too late to go back safely.
	ClosedWindow Condition = "closed-window"
	// MissingPermission means that the credential may not change the target.
	MissingPermission Condition = "missing-permission"
)

// Conditions lists all conditions.
func Conditions() []Condition {
	return []Condition{MissingTarget, MissingRevision, DeployInFlight, ClosedWindow, MissingPermission}
}

// Scenario brings a condition about.
type Scenario struct {
	// NotApplicable is the reason why the kind can not meet the condition. The
	// other fields are empty then.
	NotApplicable string
	// Arrange changes what Start has made and returns what to plan, and with
	// which credential.
	Arrange func(tb testing.TB, target *Target) (driver.PlanRequest, Credential)
	// Says is what the blocking reason must contain.
	Says string
	// Warns says that the condition is shown, but blocks nothing: it is harmless
	// for this kind.
	Warns bool
}

// Name is the kind, and the form behind a slash if there is one.
func (c Case) Name() string {
	if c.Form == "" {
		return c.Kind
	}
	return c.Kind + "/" + c.Form
}

// formPattern is what a form may look like: it is a part of the name of a test.
var formPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)

// problem says what is wrong with the case itself.
func (c Case) problem() string {
	switch {
	case c.Kind == "":
		return "the kind is empty"
	case c.Form != "" && !formPattern.MatchString(c.Form):
		return "the form is not made of letters, digits, dots, hyphens and underscores"
	case c.Start == nil:
		return "Start is missing"
	}
	for _, condition := range Conditions() {
		s, ok := c.Preflight[condition]
		switch {
		case !ok:
			return fmt.Sprintf("condition %q has neither a scenario nor a reason", condition)
		case (s.NotApplicable == "") == (s.Arrange == nil):
			return fmt.Sprintf("condition %q needs either a scenario or a reason", condition)
		case s.Arrange != nil && s.Says == "":
			return fmt.Sprintf("condition %q does not say what its reason must contain", condition)
		}
	}
	for condition := range c.Preflight {
		if !slices.Contains(Conditions(), condition) {
			return fmt.Sprintf("condition %q is not known", condition)
		}
	}
	return ""
}

// problem says what is wrong with a target that Start has made.
func (t *Target) problem(c Case) string {
	switch {
	case t.Connect == nil || t.Digest == nil || t.Mutations == nil || t.Interfere == nil:
		return "Connect, Digest, Mutations and Interfere must be set"
	case (t.Upstream == "") != (c.NotRemote != ""):
		return "either Upstream or NotRemote must be set"
	case (t.Throttle == nil) != (c.NeverThrottled != ""):
		return "either Throttle or NeverThrottled must be set"
	case t.Difference == "":
		return "Difference is empty"
	case len(t.Canaries) == 0:
		return "no canary is planted"
	}
	for _, canary := range t.Canaries {
		if len(canary) < minCanary {
			return "a canary is too short to be told from other text"
		}
	}
	return ""
}

// minCanary is the shortest canary, in bytes.
const minCanary = 8

var registered = map[string]Case{}

// Register makes cases known to RunRegistered. It panics on a duplicate.
func Register(cases ...Case) {
	for _, c := range cases {
		if _, dup := registered[c.Name()]; dup || c.Kind == "" {
			panic(fmt.Sprintf("drivertest: case %q is empty or registered twice", c.Name()))
		}
		registered[c.Name()] = c
	}
}

// Registered lists the cases, ordered by kind and form.
func Registered() []Case {
	cases := make([]Case, 0, len(registered))
	for _, name := range slices.Sorted(maps.Keys(registered)) {
		cases = append(cases, registered[name])
	}
	return cases
}

// Settings makes the Decode function of a driver.System from a struct or a map:
// strict, as the product's own.
func Settings(v any) func(into any) error {
	return func(into any) error {
		content, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("encode settings: %w", err)
		}
		decoder := json.NewDecoder(bytes.NewReader(content))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(into); err != nil {
			return fmt.Errorf("decode settings: %w", err)
		}
		return nil
	}
}
