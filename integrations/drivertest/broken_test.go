package drivertest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// defect is one way to build the kind wrong. The empty one is sound.
type defect string

const (
	sound              defect = ""
	someOneWay         defect = "some-one-way"
	allOneWay          defect = "all-one-way"
	planWrites         defect = "plan-writes"
	observeWrites      defect = "observe-writes"
	appliesBlindly     defect = "applies-blindly"
	writesTwice        defect = "writes-twice"
	noCompareAndSet    defect = "no-compare-and-set"
	retriesBlindly     defect = "retries-blindly"
	goesToPrevious     defect = "goes-to-previous"
	differenceUnnamed  defect = "difference-unnamed"
	noWayBack          defect = "no-way-back"
	deniesWayBack      defect = "denies-way-back"
	noPreflight        defect = "no-preflight"
	missingIsError     defect = "missing-is-error"
	reasonIsNoSentence defect = "reason-is-no-sentence"
	outageIsFinal      defect = "outage-is-final"
	outlivesItsTime    defect = "outlives-its-time"
	denialIsPassing    defect = "denial-is-passing"
	throttlingIsFinal  defect = "throttling-is-final"
	revertsEverything  defect = "reverts-everything"
	tokenInError       defect = "token-in-error"
	contentInDetail    defect = "content-in-detail"
	tokenInLog         defect = "token-in-log"
	mutationDenied     defect = "mutation-denied"
	reachIsNoQuestion  defect = "reach-is-no-question"
	promisesWayBack    defect = "promises-way-back"
)

func kindOf(d defect) string {
	if d == sound {
		return "store.sound"
	}
	return "store." + string(d)
}

var defects = []defect{
	sound, someOneWay, allOneWay, planWrites, observeWrites, appliesBlindly, writesTwice, noCompareAndSet, retriesBlindly, goesToPrevious,
	differenceUnnamed, noWayBack, deniesWayBack, noPreflight, missingIsError, reasonIsNoSentence, outageIsFinal,
	outlivesItsTime, denialIsPassing, throttlingIsFinal, revertsEverything, tokenInError, contentInDetail, tokenInLog,
	mutationDenied, reachIsNoQuestion, promisesWayBack,
}

// faultless are no defects.
var faultless = []defect{sound, someOneWay, allOneWay}

// oneWays is what has no way back.
func oneWays(d defect) string {
	if d == allOneWay {
		return "nothing is kept"
	}
	if d == someOneWay || d == promisesWayBack {
		return "a value that can be written once more"
	}
	return ""
}

// systemOf is the system type of a kind.
func systemOf(d defect) string {
	if d == reachIsNoQuestion {
		return "unasked-store"
	}
	return "store"
}

func init() {
	for _, d := range []defect{sound, reachIsNoQuestion} {
		driver.RegisterSystem(systemOf(d), func(_ context.Context, s driver.System) (storeSettings, error) {
			settings := storeSettings{unasked: d == reachIsNoQuestion}
			err := s.Decode(&settings)
			return settings, err
		})
	}
	for _, d := range defects {
		driver.RegisterInverse(driver.Descriptor{
			Kind: kindOf(d), System: systemOf(d), Layer: "test", TargetForm: "value",
			Reversible: d != allOneWay, OneWay: oneWays(d),
			WontRevert: []string{"what was done with the value"}, Permission: "a token that may write",
		}, func(s storeSettings) driver.Inverse { return storeInverse{store: s, defect: d} })
	}
}

// storeInverse takes a store back to a revision, in a sound way or with a defect.
type storeInverse struct {
	store  storeSettings
	defect defect
}

func (i storeInverse) do(ctx context.Context, r storeRequest) (storeResponse, error) {
	if i.defect == outlivesItsTime {
		fixed, cancel := context.WithTimeout(context.WithoutCancel(ctx), shortTime+grace+time.Second)
		defer cancel()
		ctx = fixed
	}
	answer, err := i.store.do(ctx, r)
	switch {
	case err == nil:
		return answer, nil
	case i.defect == outageIsFinal && !errors.Is(err, driver.ErrDenied):
		return answer, fmt.Errorf("%w: %w", driver.ErrNotFound, err)
	case i.defect == throttlingIsFinal && err.Error() == "slow down":
		return answer, fmt.Errorf("%w: %w", driver.ErrInvalid, err)
	case i.defect == denialIsPassing && errors.Is(err, driver.ErrDenied):
		return answer, errors.New("try again")
	case i.defect == tokenInError:
		return answer, fmt.Errorf("with token %s: %w", i.store.Token, err)
	case i.defect == tokenInLog:
		slog.Error("request failed", "token", i.store.Token)
	}
	return answer, err
}

func (storeInverse) state(values []string, revision int) incident.State {
	return incident.State{Revision: strconv.Itoa(revision), Digest: incident.DigestOf([]byte(values[revision-1]))}
}

func (i storeInverse) Plan(ctx context.Context, req driver.PlanRequest) (driver.Planned, error) {
	blocked := func(reason string) (driver.Planned, error) {
		if i.defect == reasonIsNoSentence {
			reason = "E42"
		}
		return driver.Planned{Preflight: []incident.Preflight{{Name: "check", Result: incident.PreflightBlocked, Reason: reason}}}, nil
	}
	if req.Target.Path != "value" {
		if i.defect == missingIsError {
			return driver.Planned{}, driver.ErrNotFound
		}
		return blocked("There is no such value.")
	}
	answer, err := i.do(ctx, storeRequest{Op: "read"})
	if err != nil {
		return driver.Planned{}, err
	}
	latest := len(answer.Values)
	revision, err := strconv.Atoi(req.Revision)
	if i.defect == goesToPrevious {
		revision = latest - 1
	}
	switch {
	case (err != nil || revision < 1 || revision > latest) && i.defect != noPreflight:
		return blocked("The revision is gone.")
	case !answer.May && i.defect != noPreflight:
		return blocked("This token may not write.")
	case err != nil || revision < 1 || revision > latest:
		revision = 1
	}
	if i.defect == planWrites {
		if _, err := i.do(ctx, storeRequest{Op: "write", Value: answer.Values[latest-1]}); err != nil {
			return driver.Planned{}, err
		}
	}
	planned := driver.Planned{
		From: i.state(answer.Values, latest), To: i.state(answer.Values, revision),
		Reversible: i.defect == promisesWayBack || i.defect != deniesWayBack && i.defect != allOneWay && !answer.Last,
		WontRevert: []string{"what was done with the value"},
		Preflight:  []incident.Preflight{{Name: "check", Result: incident.PreflightOK, Reason: "The revision is there."}},
	}
	if i.defect == revertsEverything {
		planned.WontRevert = nil
	}
	return planned, nil
}

func (i storeInverse) Observe(ctx context.Context, _ incident.Action) (driver.Observation, error) {
	answer, err := i.do(ctx, storeRequest{Op: "read"})
	if err != nil {
		return driver.Observation{}, err
	}
	latest := len(answer.Values)
	if i.defect == observeWrites {
		if _, err := i.do(ctx, storeRequest{Op: "write", Value: answer.Values[latest-1]}); err != nil {
			return driver.Observation{}, err
		}
	}
	seen := driver.Observation{State: i.state(answer.Values, latest), Settled: true, Detail: fmt.Sprintf("it is at revision %d", latest)}
	if i.defect == contentInDetail {
		seen.Detail += ": " + answer.Values[latest-1]
	}
	if i.defect == differenceUnnamed {
		seen.Detail = ""
	}
	return seen, nil
}

func (i storeInverse) Apply(ctx context.Context, action incident.Action, _ string) (driver.Receipt, error) {
	answer, err := i.do(ctx, storeRequest{Op: "read"})
	if err != nil {
		return driver.Receipt{}, err
	}
	latest := len(answer.Values)
	present := i.state(answer.Values, latest)
	if i.defect != appliesBlindly {
		switch present.Digest {
		case action.To.Digest:
			return driver.Receipt{}, nil
		case action.From.Digest:
		default:
			drift := &driver.DriftError{Action: action, Observed: present, Difference: fmt.Sprintf("it is at revision %d", latest)}
			if i.defect == differenceUnnamed {
				drift.Difference = ""
			}
			return driver.Receipt{}, drift
		}
	}
	revision, err := strconv.Atoi(action.To.Revision)
	if err != nil || revision < 1 || revision > latest || i.defect == noWayBack && revision > 2 {
		return driver.Receipt{}, driver.ErrInvalid
	}
	write := storeRequest{Op: "write", Value: answer.Values[revision-1], At: latest}
	if i.defect == noCompareAndSet || i.defect == appliesBlindly {
		write.At = 0
	}
	_, err = i.do(ctx, write)
	switch {
	case err == nil && i.defect == writesTwice, err != nil && i.defect == retriesBlindly:
		write.At = 0
		_, err = i.do(ctx, write)
	case err != nil && err.Error() == "moved":
		return i.Apply(ctx, action, "") // It is at another state now, which the next look refuses.
	}
	return driver.Receipt{Mutated: err == nil && i.defect != mutationDenied}, err
}
