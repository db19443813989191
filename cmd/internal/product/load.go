package product

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/prometheus/promql/parser"

	"github.com/backout/backout/approvals"
	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/integrations/postgres"
	"github.com/backout/backout/runbooks"
	"github.com/backout/backout/workflows/incident"
)

// Rules is what people wrote about production: services, runbooks and the
// policy.
type Rules struct {
	Catalogue *runbooks.Catalogue
	Runbooks  []*runbooks.Runbook
	Policy    *approvals.Policy
}

// LoadRules reads the catalogue, the runbooks and the policy. Without a policy
// file the default policy holds. Every error names file and line.
func LoadRules(c Config) (Rules, error) {
	var r Rules
	files, err := readYAML(c.Catalogue)
	if err != nil {
		return r, fmt.Errorf("read catalogue: %w", err)
	}
	if r.Catalogue, err = runbooks.ParseCatalogue(files...); err != nil {
		return r, fmt.Errorf("read catalogue: %w", err)
	}
	if r.Runbooks, err = LoadRunbooks(c.Runbooks); err != nil {
		return r, err
	}
	if err := runbooks.CheckEvidence(r.Runbooks, lintInput(nil, time.Time{})); err != nil {
		return r, fmt.Errorf("read runbooks: %w", err)
	}
	if err := checkMetrics(r.Catalogue); err != nil {
		return r, fmt.Errorf("read catalogue: %w", err)
	}
	r.Policy, err = LoadPolicy(c.Policy)
	return r, err
}

// LoadPolicy reads a policy; without a file it is the default policy.
func LoadPolicy(file string) (*approvals.Policy, error) {
	if file == "" {
		return approvals.Default(), nil
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read policy: %w", err)
	}
	policy, err := approvals.ParsePolicy(approvals.File{Name: file, Content: content})
	if err != nil {
		return nil, fmt.Errorf("read policy: %w", err)
	}
	return policy, nil
}

// tiers are those in which people can approve.
var tiers = []incident.Tier{incident.TierOnCall, incident.TierCommander, incident.TierCommanderAndOwner}

// checkStepUp reports tiers that nobody could approve, because there is no login at
// which a second proof could be given.
func checkStepUp(c Config, p *approvals.Policy) error {
	if c.Login.configured() {
		return nil
	}
	for _, t := range tiers {
		if p.Expiry(t) > 0 && p.StepUp(t) {
			return fmt.Errorf("read policy %s: %s is marked step_up, and there is no login at which a second proof could be given; configure login, or take the mark away", c.Policy, t)
		}
	}
	return nil
}

// checkMetrics reports queries of the catalogue that no Prometheus would
// understand, before an incident finds them.
func checkMetrics(c *runbooks.Catalogue) error {
	queries := parser.NewParser(parser.Options{})
	var errs []error
	for _, s := range c.Services() {
		for _, q := range runbooks.LiveQueries(incident.BlastRadius{Services: []incident.Reach{{Name: s.Name}}}, c) {
			if _, err := queries.ParseExpr(q.Query); err != nil {
				errs = append(errs, fmt.Errorf("check query for %s of component %q: %w", q.Fact, s.Name, err))
			}
		}
	}
	return errors.Join(errs...)
}

// LoadRunbooks reads runbooks from files and folders.
func LoadRunbooks(paths []string) ([]*runbooks.Runbook, error) {
	files, err := readYAML(paths)
	if err != nil {
		return nil, fmt.Errorf("read runbooks: %w", err)
	}
	var out []*runbooks.Runbook
	names := map[string]string{}
	for _, f := range files {
		rb, err := runbooks.ParseRunbook(f)
		if err != nil {
			return nil, fmt.Errorf("read runbook: %w", err)
		}
		if first, dup := names[rb.Metadata.Name]; dup {
			return nil, fmt.Errorf("read runbook %s: the name %q is taken by %s; rename one of them", f.Name, rb.Metadata.Name, first)
		}
		names[rb.Metadata.Name] = f.Name
		out = append(out, rb)
	}
	return out, nil
}

// readYAML reads files, and all *.yaml and *.yml below folders, ordered by
// name.
func readYAML(paths []string) ([]runbooks.File, error) {
	var names []string
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			names = append(names, p)
			continue
		}
		err = filepath.WalkDir(p, func(path string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() && (strings.HasSuffix(path, ".yaml") || strings.HasSuffix(path, ".yml")) {
				names = append(names, path)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	slices.Sort(names)
	var files []runbooks.File
	for _, name := range slices.Compact(names) {
		content, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		files = append(files, runbooks.File{Name: name, Content: content})
	}
	return files, nil
}

// lintInput is what is registered in this binary, for lint.
func lintInput(c *runbooks.Catalogue, now time.Time) runbooks.LintInput {
	inverse, source, collector, _ := driver.Known()
	queries := parser.NewParser(parser.Options{})
	in := runbooks.LintInput{Catalogue: c, Sources: source, Collectors: collector, Now: now, CheckParams: checkParams, CheckSQL: postgres.CheckCount, CheckQuery: func(q string) error {
		_, err := queries.ParseExpr(q)
		return err
	}}
	for _, k := range inverse {
		d, _ := driver.Describe(k)
		in.Kinds = append(in.Kinds, runbooks.KindInfo{Kind: d.Kind, Reversible: d.Reversible})
	}
	return in
}

// checkParams asks a collector whether it takes what a runbook gives it.
func checkParams(e incident.EvidenceSpec) (param string, err error) {
	err = driver.CheckParams(e.Collector, e.Target, e.Params)
	if about, ok := errors.AsType[*driver.ParamError](err); ok {
		param = about.Param
	}
	return param, err
}
