package fakelaunchdarkly

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/backout/backout/test/fakes/pagerduty/rest"
)

// wholeWeight is the weight of all variations of a rollout together.
const wholeWeight = 100_000

// actions are those of a role that a change of a field needs.
// Source: https://launchdarkly.com/docs/home/account/roles/role-actions
var actions = map[string]string{
	"on": "updateOn", "fallthrough": "updateFallthrough", "offVariation": "updateOffVariation", "rules": "updateRules",
	"targets": "updateTargets", "contextTargets": "updateTargets", "prerequisites": "updatePrerequisites",
	"trackEvents": "updateTrackEvents", "trackEventsFallthrough": "updateTrackEvents",
}

// flag is a boolean flag.
type flag struct {
	project, key string
	version      int
	created      time.Time
	variations   []any
	configs      map[string]object
	scheduled    map[string][]time.Time
}

// AddFlag makes a boolean flag that is off in each of the environments.
func (s *Server) AddFlag(project, key string, environments ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.cfg.Now()
	f := &flag{project: project, key: key, version: 1, created: now, configs: map[string]object{}, scheduled: map[string][]time.Time{}}
	f.variations = []any{object{"_id": s.newID(), "value": true}, object{"_id": s.newID(), "value": false}}
	s.flags[project+"/"+key] = f
	for _, name := range environments {
		s.environment(project, name)
		f.configs[name] = clone(object{
			"on": false, "archived": false, "salt": s.newID(), "sel": s.newID(), "lastModified": now.UnixMilli(), "version": 1,
			"targets": []any{}, "contextTargets": []any{}, "rules": []any{}, "prerequisites": []any{},
			"fallthrough": object{"variation": 0}, "offVariation": 1, "_environmentName": name,
			"_site": link("/" + project + "/" + name + "/features/" + key), "trackEvents": false, "trackEventsFallthrough": false,
		})
	}
	for _, name := range environments {
		s.record(f, name, "Ada", "", nil)
	}
}

// Update changes a flag in an environment as a person does in the user interface.
func (s *Server) Update(project, key, environment, author string, edit func(config map[string]any)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.flags[project+"/"+key]
	changed := clone(f.configs[environment])
	edit(changed)
	s.commit(f, environment, clone(changed), author, "")
}

// Vary replaces the values of a flag's variations, which all environments share.
func (s *Server) Vary(project, key string, values ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.flags[project+"/"+key]
	f.variations = nil
	for _, value := range values {
		f.variations = append(f.variations, object{"_id": s.newID(), "value": value})
	}
}

// Schedule plans a change of a flag in an environment.
func (s *Server) Schedule(project, key, environment string, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.flags[project+"/"+key]
	f.scheduled[environment] = append(f.scheduled[environment], at)
}

// Configuration is a copy of the configuration of a flag in an environment.
func (s *Server) Configuration(project, key, environment string) map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return clone(s.flags[project+"/"+key].configs[environment])
}

// commit puts a configuration in place and records that.
func (s *Server) commit(f *flag, environment string, config object, author, comment string) {
	before := f.render()
	number, _ := config["version"].(float64)
	config["version"] = number + 1
	config["lastModified"] = s.cfg.Now().UnixMilli()
	f.configs[environment] = clone(s.identified(config))
	f.version++
	s.record(f, environment, author, comment, before)
}

// identified gives rules and clauses the IDs that they lack.
func (s *Server) identified(config object) object {
	rules, _ := config["rules"].([]any)
	for _, rule := range rules {
		fields, _ := rule.(object)
		if fields["_id"] == nil {
			fields["_id"] = s.newID()
		}
		clauses, _ := fields["clauses"].([]any)
		for _, clause := range clauses {
			if c, _ := clause.(object); c["_id"] == nil {
				c["_id"] = s.newID()
			}
		}
	}
	return config
}

// render is the flag as the API shows it, with the given environments or all.
func (f *flag) render(environments ...string) object {
	configs := object{}
	for name, config := range f.configs {
		if len(environments) == 0 || slices.Contains(environments, name) {
			configs[name] = config
		}
	}
	return clone(object{
		"name": f.key, "kind": "boolean", "key": f.key, "_version": f.version, "creationDate": f.created.UnixMilli(),
		"variations": f.variations, "temporary": false, "tags": []any{}, "_links": links("/api/v2/flags/" + f.project + "/" + f.key),
		"experiments": object{"baselineIdx": 0, "items": []any{}}, "customProperties": object{}, "archived": false,
		"defaults": object{"onVariation": 0, "offVariation": 1}, "environments": configs,
	})
}

func (s *Server) found(r *rest.Request) *flag {
	return s.flags[r.Vars["projectKey"]+"/"+r.Vars["featureFlagKey"]]
}

func (s *Server) getFlag(r *rest.Request) rest.Reply {
	f := s.found(r)
	if f == nil {
		return s.failure(http.StatusNotFound)
	}
	return ok(f.render(r.Query["env"]...))
}

func (s *Server) listScheduled(r *rest.Request) rest.Reply {
	f := s.found(r)
	if f == nil || f.configs[r.Vars["environmentKey"]] == nil {
		return s.failure(http.StatusNotFound)
	}
	items := []any{}
	for _, at := range f.scheduled[r.Vars["environmentKey"]] {
		items = append(items, object{
			"_id": s.newID(), "_creationDate": f.created.UnixMilli(), "_maintainerId": "569f514183f2164430000002", "_version": 1,
			"executionDate": at.UnixMilli(), "instructions": []any{object{"kind": "turnFlagOn"}},
		})
	}
	return ok(object{"items": items, "_links": links(r.URL.Path)})
}

// patchFlag applies a JSON Patch as one step, or does nothing.
func (s *Server) patchFlag(r *rest.Request) rest.Reply {
	f := s.found(r)
	if f == nil {
		return s.failure(http.StatusNotFound)
	}
	var body struct {
		Comment string      `json:"comment"`
		Patch   []operation `json:"patch"`
	}
	if err := json.Unmarshal(r.Raw, &body); err != nil || len(body.Patch) == 0 {
		return s.failure(http.StatusBadRequest)
	}
	after, touched, refused := s.patched(f, r.Actor, body.Patch)
	if refused != nil {
		return *refused
	}
	for _, name := range touched {
		if err := f.valid(after[name]); err != nil {
			return refusal(http.StatusBadRequest, "invalid_request", err.Error())
		}
	}
	if r.Query.Get("dryRun") == "true" {
		preview := *f
		preview.configs = after
		return ok(preview.render())
	}
	for _, name := range touched {
		if !same(f.configs[name], after[name]) {
			s.commit(f, name, after[name], s.cfg.Tokens[r.Actor].Name, body.Comment)
		}
	}
	return ok(f.render())
}

// patched is the configurations after a patch, and which of them it touched.
func (s *Server) patched(f *flag, token string, patch []operation) (after map[string]object, touched []string, refused *rest.Reply) {
	refuse := func(status int, code, text string) (map[string]object, []string, *rest.Reply) {
		reply := refusal(status, code, text)
		return nil, nil, &reply
	}
	var document any = object{"environments": clone(f.configs)}
	document = clone(document)
	for _, o := range patch {
		tokens := o.tokens()
		if len(tokens) < 3 || tokens[0] != "environments" || f.configs[tokens[1]] == nil {
			return refuse(http.StatusBadRequest, "invalid_request", "path is not one of an environment")
		}
		var err error
		switch o.Op {
		case "test":
			_, err = o.apply(document, tokens)
		case "add", "remove", "replace":
			action, editable := actions[tokens[2]]
			switch {
			case !editable || strings.HasPrefix(tokens[len(tokens)-1], "_"):
				return refuse(http.StatusBadRequest, "invalid_request", "field can not be edited")
			case !s.may(token, action):
				return refuse(http.StatusForbidden, "forbidden", "Access to the requested resource was denied")
			case s.environment(f.project, tokens[1]).approval:
				return refuse(http.StatusMethodNotAllowed, "method_not_allowed", "approval is required to make this request")
			}
			if !slices.Contains(touched, tokens[1]) {
				touched = append(touched, tokens[1])
			}
			document, err = o.apply(document, tokens)
		default:
			return refuse(http.StatusBadRequest, "invalid_request", "unknown operation")
		}
		switch {
		case errors.Is(err, errTest):
			return refuse(http.StatusConflict, "optimistic_locking_error", "a test of the patch failed")
		case err != nil:
			return refuse(http.StatusBadRequest, "invalid_request", err.Error())
		}
	}
	after = map[string]object{}
	for name, config := range document.(object)["environments"].(object) {
		after[name] = config.(object)
	}
	return after, touched, nil
}

// valid says what LaunchDarkly would not accept of a configuration.
func (f *flag) valid(config object) error {
	if _, ok := config["on"].(bool); !ok {
		return errors.New("on must be a boolean")
	}
	if !f.serves(config["offVariation"]) {
		return errors.New("offVariation does not exist")
	}
	if err := f.validRule(config["fallthrough"]); err != nil {
		return fmt.Errorf("fallthrough: %w", err)
	}
	for _, field := range []string{"rules", "targets", "contextTargets", "prerequisites"} {
		list, isList := config[field].([]any)
		if !isList {
			return fmt.Errorf("%s must be a list", field)
		}
		for _, item := range list {
			fields, isObject := item.(object)
			switch {
			case !isObject:
				return fmt.Errorf("%s must hold objects", field)
			case field == "rules":
				if err := f.validRule(fields); err != nil {
					return fmt.Errorf("%s: %w", field, err)
				}
			case field != "prerequisites" && !f.serves(fields["variation"]):
				return fmt.Errorf("%s: variation does not exist", field)
			}
		}
	}
	return nil
}

// validRule says what is wrong with what a rule serves: exactly one of a variation
// and a rollout.
func (f *flag) validRule(rule any) error {
	fields, _ := rule.(object)
	rollout, hasRollout := fields["rollout"].(object)
	_, hasVariation := fields["variation"]
	switch {
	case hasRollout == hasVariation:
		return errors.New("want either a variation or a rollout")
	case hasVariation && !f.serves(fields["variation"]):
		return errors.New("variation does not exist")
	case hasVariation:
		return nil
	}
	total := 0.0
	weights, _ := rollout["variations"].([]any)
	for _, weight := range weights {
		w, _ := weight.(object)
		share, _ := w["weight"].(float64)
		if total += share; !f.serves(w["variation"]) {
			return errors.New("variation does not exist")
		}
	}
	if total != wholeWeight {
		return errors.New("weights must make 100 percent")
	}
	return nil
}

// serves reports whether a variation exists.
func (f *flag) serves(number any) bool {
	n, ok := number.(float64)
	return ok && n >= 0 && int(n) < len(f.variations) && n == float64(int(n))
}
