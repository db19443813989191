package driver

import (
	"fmt"
	"slices"
	"strings"

	"github.com/backout/backout/workflows/incident"
)

// ParamsCheck reports what is wrong with the parameters that a runbook gives a
// collector for a target: one that is unknown, missing or malformed. It asks no system,
// so that runbooks are checked when they are loaded. Its errors wrap ErrInvalid, and
// are a *ParamError where they are about one parameter.
type ParamsCheck func(target incident.Target, params map[string]string) error

// paramsChecks are those of the collectors that know parameters, filled by init
// functions only and read afterwards.
var paramsChecks = map[string]ParamsCheck{}

// RegisterParams states which parameters a collector knows. One that states nothing
// knows none. It panics on a duplicate.
func RegisterParams(collector string, check ParamsCheck) {
	if check == nil {
		panic(fmt.Sprintf("driver: collector %q has no check of its parameters", collector))
	}
	mustBeNew(paramsChecks, collector)
	paramsChecks[collector] = check
}

// TakesParams reports whether a collector knows any parameter.
func TakesParams(collector string) bool { return paramsChecks[collector] != nil }

// CheckParams reports what is wrong with the parameters that a runbook gives a
// collector. An unknown collector is an error.
func CheckParams(collector string, target incident.Target, params map[string]string) error {
	if _, ok := collectors[collector]; !ok {
		return fmt.Errorf("check parameters of %q: %w: no such collector", collector, ErrInvalid)
	}
	if check := paramsChecks[collector]; check != nil {
		return check(target, params)
	}
	return NoParams(collector, params)
}

// NoParams refuses every parameter: what a collector says that knows none.
func NoParams(collector string, params map[string]string) error {
	return KnownParams(params, collector)
}

// KnownParams refuses every parameter that is not among those known.
func KnownParams(params map[string]string, collector string, known ...string) error {
	unknown := ""
	for name := range params {
		if !slices.Contains(known, name) && (unknown == "" || name < unknown) {
			unknown = name
		}
	}
	switch {
	case unknown == "":
		return nil
	case len(known) == 0:
		return &ParamError{Param: unknown, Reason: "it is unknown: " + collector + " knows no parameter"}
	default:
		return &ParamError{Param: unknown, Reason: "it is unknown: " + collector + " knows " + strings.Join(known, ", ")}
	}
}

// ParamError says what is wrong with one parameter of a collector. It wraps ErrInvalid.
type ParamError struct {
	// Param is its name.
	Param string
	// Reason is for people, such as "want a number from 1 to 5000".
	Reason string
}

// Error names the parameter, cut to what fits a line.
func (e *ParamError) Error() string {
	return fmt.Sprintf("parameter %.*q: %s", maxParamShown, e.Param, e.Reason)
}

// Unwrap is ErrInvalid: trying again can not help.
func (e *ParamError) Unwrap() error { return ErrInvalid }

// maxParamShown is how much of the name of a parameter an error shows, in characters.
const maxParamShown = 60
