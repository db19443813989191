package approvals

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/backout/backout/workflows/incident"
)

// Situation is everything that a tier is worked out from. What is missing in it
// is not known, and what is not known never lowers a tier.
type Situation struct {
	Plan incident.Plan
	// Rung is how far the plan goes; zero is not known.
	Rung   incident.Rung
	Radius incident.BlastRadius
	// Severity that is none of the four is not known.
	Severity incident.Severity
	// SLOBurn is how many times faster than allowed the worst objective of the
	// plan's runbook burns; nil is not known.
	SLOBurn *incident.Measured
	// At is the moment that conditions on the time go by; zero is not known.
	At time.Time
}

// Input is one thing that a condition can ask about.
type Input struct {
	// Name is how CEL spells it, such as "radius.services".
	Name string
	// Type is its type in CEL.
	Type string
	// Meaning is one clause for the author of a policy.
	Meaning string
	cel     *cel.Type
}

var (
	planType     = cel.ObjectType("backout.Plan")
	actionType   = cel.ObjectType("backout.Action")
	radiusType   = cel.ObjectType("backout.Radius")
	incidentType = cel.ObjectType("backout.Incident")
)

// variables are the names at the top, and their objects.
var variables = []Input{
	{Name: "plan", cel: planType},
	{Name: "radius", cel: radiusType},
	{Name: "incident", cel: incidentType},
	{Name: "severity", cel: cel.StringType, Meaning: "sev1 to sev4"},
	{Name: "slo_burn", cel: cel.DoubleType, Meaning: "how many times faster than allowed the worst objective burns, by measurement"},
	{Name: "time", cel: cel.TimestampType, Meaning: "the moment of the judgement, in UTC"},
}

// fields are the fields of the objects: the one table that the type checker,
// the evaluation and the documentation go by. Titles, summaries, labels and
// names of people come from outside and are not among them.
var fields = map[string][]Input{
	planType.TypeName(): {
		{Name: "service", cel: cel.StringType, Meaning: "the service that the plan is for"},
		{Name: "strategy", cel: cel.StringType, Meaning: "rollback, flag_off, restore, compensate or roll_forward"},
		{Name: "runbook", cel: cel.StringType, Meaning: "the name of the runbook"},
		{Name: "option", cel: cel.StringType, Meaning: "the name of the option in it"},
		{Name: "rung", cel: cel.IntType, Meaning: "from safe to risky: 1 observe, 2 visibility, 3 reversible, 4 controlled, 5 irreversible"},
		{Name: "actions", cel: cel.ListType(actionType), Meaning: "the actions in their order"},
	},
	actionType.TypeName(): {
		{Name: "kind", cel: cel.StringType, Meaning: "the kind of inverse, such as kubernetes.workload"},
		{Name: "system", cel: cel.StringType, Meaning: "the configured system of its target"},
		{Name: "path", cel: cel.StringType, Meaning: "the name of its target there"},
		{Name: "reversible", cel: cel.BoolType, Meaning: "it can be undone exactly"},
	},
	radiusType.TypeName(): {
		{Name: "services", cel: cel.ListType(cel.StringType), Meaning: "services that are changed directly"},
		{Name: "dependents", cel: cel.ListType(cel.StringType), Meaning: "services that call them, directly or not"},
		{Name: "shared_data", cel: cel.ListType(cel.StringType), Meaning: "stores that other services use too"},
		{Name: "irreversible", cel: cel.ListType(cel.StringType), Meaning: "targets whose change can not be undone"},
		{Name: "global", cel: cel.BoolType, Meaning: "all customers are touched at once, or nobody knows how many"},
		{Name: string(incident.LiveTrafficShare), cel: cel.DoubleType, Meaning: "share of the traffic that goes through the services, 0 to 1, by measurement"},
		{Name: string(incident.LiveCustomers), cel: cel.IntType, Meaning: "customers of the services, by measurement"},
		{Name: string(incident.LiveReplicas), cel: cel.IntType, Meaning: "running replicas of the services, by measurement"},
		{Name: string(incident.LiveRegions), cel: cel.IntType, Meaning: "regions that the services run in, by measurement"},
	},
	incidentType.TypeName(): {
		{Name: "source", cel: cel.StringType, Meaning: "where the incident came from, such as pagerduty"},
	},
}

// spelledType makes the name of a type one for people.
var spelledType = strings.NewReplacer("backout.", "", "google.protobuf.Timestamp", "timestamp")

// Inputs are all that a condition can ask about, in the order of the
// documentation.
func Inputs() []Input {
	var out []Input
	for _, v := range variables {
		members, ok := fields[v.cel.TypeName()]
		if !ok {
			out = append(out, v)
		}
		for _, f := range members {
			f.Name = v.Name + "." + f.Name
			out = append(out, f)
			if f.cel.Kind() != types.ListKind {
				continue
			}
			for _, part := range fields[f.cel.Parameters()[0].TypeName()] {
				part.Name = f.Name + "[]." + part.Name
				out = append(out, part)
			}
		}
	}
	for i := range out {
		out[i].Type = spelledType.Replace(out[i].cel.String())
	}
	return out
}

// record is one object: the fields that are known.
type record struct {
	of    *cel.Type
	known map[string]any
}

// ConvertToNative refuses: conditions give back true or false and no object.
func (r *record) ConvertToNative(reflect.Type) (any, error) {
	return nil, errors.New("convert object: it has no form outside of conditions")
}

// ConvertToType refuses every type.
func (r *record) ConvertToType(t ref.Type) ref.Val {
	return types.NewErr("convert %s to %s: not possible", r.of.TypeName(), t.TypeName())
}

// Equal is not known: objects have no identity here.
func (r *record) Equal(ref.Val) ref.Val {
	return types.NewErr("compare %s: compare its fields", r.of.TypeName())
}

// Type is the type of the object.
func (r *record) Type() ref.Type { return r.of }

// Value is the object itself.
func (r *record) Value() any { return r }

// objects tells the type checker about the objects.
type objects struct{ *types.Registry }

// FindStructType knows the objects of the input.
func (o objects) FindStructType(name string) (*types.Type, bool) {
	if _, ok := fields[name]; ok {
		return types.NewTypeTypeWithParam(types.NewObjectType(name)), true
	}
	return o.Registry.FindStructType(name)
}

// FindStructFieldNames lists the fields of an object.
func (o objects) FindStructFieldNames(name string) ([]string, bool) {
	list, ok := fields[name]
	if !ok {
		return o.Registry.FindStructFieldNames(name)
	}
	var out []string
	for _, f := range list {
		out = append(out, f.Name)
	}
	return out, true
}

// FindStructFieldType is the type of a field. Reading one that is not known is
// an error of the evaluation, never a zero.
func (o objects) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	i := slices.IndexFunc(fields[name], func(f Input) bool { return f.Name == field })
	if i < 0 {
		return nil, false
	}
	return &types.FieldType{
		Type: fields[name][i].cel,
		IsSet: func(target any) bool {
			r, ok := target.(*record)
			return ok && r.known[field] != nil
		},
		GetFrom: func(target any) (any, error) {
			if r, ok := target.(*record); ok && r.known[field] != nil {
				return r.known[field], nil
			}
			return nil, fmt.Errorf("read %s of %s: it is not known", field, name)
		},
	}, true
}

// activation is the input of the conditions for a situation: what is known.
func (s Situation) activation() map[string]any {
	actions := make([]ref.Val, 0, len(s.Plan.Actions))
	for _, a := range s.Plan.Actions {
		actions = append(actions, &record{of: actionType, known: map[string]any{
			"kind": a.Kind, "system": a.Target.System, "path": a.Target.Path, "reversible": a.Reversible,
		}})
	}
	plan := map[string]any{"actions": actions}
	for name, value := range map[string]string{
		"service": s.Plan.Service, "strategy": string(s.Plan.Strategy), "runbook": s.Plan.Runbook, "option": s.Plan.Option,
	} {
		if value != "" {
			plan[name] = value
		}
	}
	if s.Rung >= incident.RungObserve && s.Rung <= incident.RungIrreversible {
		plan["rung"] = int64(s.Rung)
	}
	radius := map[string]any{
		"services": distinct(s.Radius.Services), "dependents": distinct(s.Radius.Dependents), "shared_data": distinct(s.Radius.SharedData),
		"irreversible": distinct(s.Radius.Irreversible), "global": s.Radius.Global != nil,
	}
	for _, name := range incident.LiveFacts() {
		v, ok := s.Radius.Measured(name)
		switch {
		case !ok:
		case name == incident.LiveTrafficShare:
			radius[string(name)] = v
		case v < math.MaxInt32:
			// Half a customer is one.
			radius[string(name)] = int64(math.Ceil(v))
		}
	}
	out := map[string]any{
		"plan": &record{of: planType, known: plan}, "radius": &record{of: radiusType, known: radius},
		"incident": &record{of: incidentType, known: map[string]any{}},
	}
	if source, _, ok := strings.Cut(s.Plan.Incident, "/"); ok && source != "" {
		out["incident"] = &record{of: incidentType, known: map[string]any{"source": source}}
	}
	if knownSeverity(s.Severity) {
		out["severity"] = string(s.Severity)
	}
	if v, ok := s.SLOBurn.Known(); ok {
		out["slo_burn"] = v
	}
	if !s.At.IsZero() {
		out["time"] = s.At.UTC()
	}
	return out
}

// knownSeverity reports whether a severity is one of the four.
func knownSeverity(sev incident.Severity) bool {
	_, err := incident.ParseSeverity(string(sev))
	return err == nil
}
