package runbooks

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/backout/backout/runbooks/strict"
	"github.com/backout/backout/workflows/incident"
)

// Workload is the tier of a service: what its harm costs, which moves the
// order of options. The zero value is invalid.
type Workload string

// The workload tiers.
const (
	WorkloadRevenue        Workload = "revenue"
	WorkloadCustomerFacing Workload = "customer-facing"
	WorkloadInternal       Workload = "internal"
	WorkloadBatch          Workload = "batch"
	WorkloadDataPipeline   Workload = "data-pipeline"
)

// The annotations that are read. Owners are named by e-mail address, by the group
// that they are in, or both: whoever any of them names is an owner.
// Sources: https://backstage.io/docs/features/software-catalog/well-known-annotations
// and, for pagerduty.com/service-id, https://pagerduty.github.io/backstage-plugin-docs/
const (
	AnnotationPagerDuty    = "pagerduty.com/service-id"
	AnnotationGitHub       = "github.com/project-slug"
	AnnotationKubernetes   = "backstage.io/kubernetes-id"
	AnnotationTier         = "backout.dev/tier"
	AnnotationSlackChannel = "backout.dev/slack-channel"
	AnnotationOwners       = "backout.dev/owners"

	// The groups whose members own a service too; see OwnerKind.
	AnnotationOwnerSlackGroup    = "backout.dev/owner-slack-group"
	AnnotationOwnerGitHubTeam    = "backout.dev/owner-github-team"
	AnnotationOwnerPagerDutyTeam = "backout.dev/owner-pagerduty-team"
)

// MaxDistance is how far dependencies and dependents are followed.
const MaxDistance = 8

// namePattern is what a component may be called. Names go into target paths
// and queries, so it holds nothing that means something there.
// Source: https://backstage.io/docs/features/software-catalog/descriptor-format
// allows [a-zA-Z0-9] with [-_.] between, at most 63; this is the lower-case
// part of it.
var namePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$`)

// ValidServiceName reports whether a name can stand in target paths and
// queries.
func ValidServiceName(name string) bool { return namePattern.MatchString(name) }

// Service is one component of the catalogue.
type Service struct {
	Name         string   `json:"name"`
	Description  string   `json:"description,omitempty"`
	Owner        string   `json:"owner"`
	Lifecycle    string   `json:"lifecycle"`
	Type         string   `json:"type"`
	System       string   `json:"system,omitempty"`
	Workload     Workload `json:"workload"`
	PagerDutyID  string   `json:"pagerduty_id,omitempty"`
	GitHubSlug   string   `json:"github_slug,omitempty"`
	KubernetesID string   `json:"kubernetes_id,omitempty"`
	SlackChannel string   `json:"slack_channel,omitempty"`
	// Owners are the e-mail addresses, in lower case, of the people who own the
	// service.
	Owners []string `json:"owners,omitempty"`
	// OwnerGroups are groups whose members own the service too, in the order in
	// which they are asked.
	OwnerGroups []OwnerGroup `json:"owner_groups,omitempty"`
	// DependsOn are names of components, Uses names of resources; both sorted.
	DependsOn []string `json:"depends_on,omitempty"`
	Uses      []string `json:"uses,omitempty"`
	// Metrics says how it is measured; nil when nobody says.
	Metrics *Metrics `json:"metrics,omitempty"`
}

// SharedStore is a resource with data that more than one component uses.
type SharedStore struct {
	Name  string
	Users []string
}

// Neighbour is a component reached over dependencies.
type Neighbour struct {
	Name string
	// Distance is the length of the shortest way, from 1.
	Distance int
	// Via is the component before it on that way; at distance 1 the start.
	Via string
}

// Catalogue is what is known about services. It is immutable.
type Catalogue struct {
	services  map[string]Service
	byPager   map[string]string
	resources map[string]string // name to type; empty if not declared
	callers   map[string][]string
	notes     []string
	digest    string
}

// dataTypes are the resource types that keep data. A resource that is used but
// not declared is taken to keep data too.
var dataTypes = []string{"", "database", "bucket", "object-store", "s3-bucket", "queue", "topic", "stream", "cache"}

type entity struct {
	APIVersion string `yaml:"apiVersion,required"`
	Kind       string `yaml:"kind,required"`
	Metadata   struct {
		Name        string            `yaml:"name,required"`
		Namespace   string            `yaml:"namespace"`
		Description string            `yaml:"description"`
		Annotations map[string]string `yaml:"annotations"`
	} `yaml:"metadata,required"`
	Spec *entitySpec `yaml:"spec"`
}

type entitySpec struct {
	Type      string   `yaml:"type"`
	Lifecycle string   `yaml:"lifecycle"`
	Owner     string   `yaml:"owner"`
	System    string   `yaml:"system"`
	DependsOn []string `yaml:"dependsOn"`
}

type entityHead struct {
	Kind string `yaml:"kind,required"`
}

// ParseCatalogue reads Backstage catalogue files. Components and resources are
// taken, systems, groups, users and domains are skipped, and other kinds are
// skipped with a note. Two components of one name, or two with one PagerDuty
// service, are errors. All errors are reported at once, with file and line.
func ParseCatalogue(files ...File) (*Catalogue, error) {
	c := &Catalogue{services: map[string]Service{}, byPager: map[string]string{}, resources: map[string]string{}, callers: map[string][]string{}}
	var errs []error
	for _, f := range files {
		docs, err := strict.Split(f)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, d := range docs {
			if err := c.add(d); err != nil {
				errs = append(errs, err)
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("parse catalogue: %w", err)
	}
	c.link()
	b, err := json.Marshal(struct {
		Services  []Service         `json:"services"`
		Resources map[string]string `json:"resources"`
	}{c.Services(), c.resources})
	if err != nil {
		return nil, fmt.Errorf("encode catalogue: %w", err)
	}
	c.digest = incident.DigestOf(b)
	return c, nil
}

func (c *Catalogue) add(d *strict.Document) error {
	var head entityHead
	if err := d.Decode(&head, strict.AnyKeys); err != nil {
		return err
	}
	switch head.Kind {
	case "Component", "Resource":
	case "System", "Group", "User", "Domain":
		return nil
	default:
		c.notes = append(c.notes, fmt.Sprintf("%s: kind %q is not used", d.At("kind"), head.Kind))
		return nil
	}
	var e entity
	if err := d.Decode(&e, strict.AnyKeys); err != nil {
		return err
	}
	if !strings.HasPrefix(e.APIVersion, "backstage.io/v1") {
		return d.Errorf("apiVersion", "apiVersion: %q is not a version of backstage.io/v1", e.APIVersion)
	}
	if !ValidServiceName(e.Metadata.Name) {
		return d.Errorf("metadata.name", "metadata.name: %q must be 1 to 63 lower-case letters, digits, dots, dashes or underscores, with a letter or digit at both ends", e.Metadata.Name)
	}
	if ns := e.Metadata.Namespace; ns != "" && ns != "default" {
		return d.Errorf("metadata.namespace", "metadata.namespace: %q is not supported, only default", ns)
	}
	if e.Spec == nil {
		return d.Errorf("", "the key %q is missing", "spec")
	}
	if head.Kind == "Resource" {
		if _, dup := c.resources[e.Metadata.Name]; dup {
			return d.Errorf("metadata.name", "metadata.name: resource %q stands there twice", e.Metadata.Name)
		}
		if e.Spec.Type == "" {
			return d.Errorf("spec", "spec: the key %q is missing", "type")
		}
		c.resources[e.Metadata.Name] = e.Spec.Type
		return nil
	}
	return c.addComponent(d, e)
}

func (c *Catalogue) addComponent(d *strict.Document, e entity) error {
	name := e.Metadata.Name
	if _, dup := c.services[name]; dup {
		return d.Errorf("metadata.name", "metadata.name: component %q stands there twice", name)
	}
	for _, k := range []struct{ key, value string }{{"type", e.Spec.Type}, {"lifecycle", e.Spec.Lifecycle}, {"owner", e.Spec.Owner}} {
		if k.value == "" {
			return d.Errorf("spec", "spec: the key %q is missing", k.key)
		}
	}
	a := e.Metadata.Annotations
	s := Service{
		Name: name, Description: e.Metadata.Description, Owner: shortRef(e.Spec.Owner), Lifecycle: e.Spec.Lifecycle,
		Type: e.Spec.Type, System: e.Spec.System, PagerDutyID: a[AnnotationPagerDuty], GitHubSlug: a[AnnotationGitHub],
		KubernetesID: a[AnnotationKubernetes], SlackChannel: a[AnnotationSlackChannel],
	}
	switch w := Workload(a[AnnotationTier]); w {
	case WorkloadRevenue, WorkloadCustomerFacing, WorkloadInternal, WorkloadBatch, WorkloadDataPipeline:
		s.Workload = w
	case "":
		s.Workload = WorkloadCustomerFacing
		c.notes = append(c.notes, fmt.Sprintf("%s: component %q has no %s, taken as %s", d.At("metadata.name"), name, AnnotationTier, WorkloadCustomerFacing))
	default:
		return d.Errorf("metadata.annotations."+AnnotationTier, "%s: unknown tier %q, want revenue, customer-facing, internal, batch or data-pipeline", AnnotationTier, w)
	}
	for o := range strings.FieldsFuncSeq(a[AnnotationOwners], func(r rune) bool { return r == ',' || r == ' ' || r == '\n' }) {
		address, ok := incident.FoldAddress(o)
		if !ok {
			return d.Errorf("metadata.annotations."+AnnotationOwners, "%s: %q is not an e-mail address in plain ASCII", AnnotationOwners, o)
		}
		s.Owners = append(s.Owners, address)
	}
	if err := s.addOwnerGroups(d, a); err != nil {
		return err
	}
	var err error
	if s.Metrics, err = metrics(d, a); err != nil {
		return err
	}
	for i, ref := range e.Spec.DependsOn {
		kind, target, err := parseRef(ref)
		if err != nil {
			return d.Errorf(fmt.Sprintf("spec.dependsOn[%d]", i), "spec.dependsOn: %v", err)
		}
		switch kind {
		case "component":
			s.DependsOn = append(s.DependsOn, target)
		case "resource":
			s.Uses = append(s.Uses, target)
		default:
			return d.Errorf(fmt.Sprintf("spec.dependsOn[%d]", i), "spec.dependsOn: %q is neither a component nor a resource", ref)
		}
	}
	s.Owners, s.DependsOn, s.Uses = sortedSet(s.Owners), sortedSet(s.DependsOn), sortedSet(s.Uses)
	if s.PagerDutyID != "" {
		if other, dup := c.byPager[s.PagerDutyID]; dup {
			return d.Errorf("metadata.annotations."+AnnotationPagerDuty, "%s: %q belongs to %q already", AnnotationPagerDuty, s.PagerDutyID, other)
		}
		c.byPager[s.PagerDutyID] = name
	}
	c.services[name] = s
	return nil
}

// link works out who depends on whom, and notes references that lead nowhere.
func (c *Catalogue) link() {
	for _, s := range c.Services() {
		for _, d := range s.DependsOn {
			c.callers[d] = append(c.callers[d], s.Name)
			if _, ok := c.services[d]; !ok {
				c.notes = append(c.notes, fmt.Sprintf("component %q depends on component %q, which is not in the catalogue", s.Name, d))
			}
		}
		for _, r := range s.Uses {
			if _, ok := c.resources[r]; !ok {
				c.resources[r] = ""
				c.notes = append(c.notes, fmt.Sprintf("component %q depends on resource %q, which is not in the catalogue; it is taken to keep data", s.Name, r))
			}
		}
	}
}

// Service returns the component of that name.
func (c *Catalogue) Service(name string) (Service, bool) {
	s, ok := c.services[name]
	return s, ok
}

// ByPagerDutyID returns the component of a PagerDuty service.
func (c *Catalogue) ByPagerDutyID(id string) (Service, bool) {
	if id == "" {
		return Service{}, false
	}
	s, ok := c.services[c.byPager[id]]
	return s, ok
}

// Services returns all components in the order of their names.
func (c *Catalogue) Services() []Service {
	out := make([]Service, 0, len(c.services))
	for _, s := range c.services {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b Service) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// Notes are things about the files that people should know, in order of
// reading. They are no errors.
func (c *Catalogue) Notes() []string { return slices.Clone(c.notes) }

// Digest is the SHA-256 of the parsed content.
func (c *Catalogue) Digest() string { return c.digest }

// HasResource reports whether a resource of that name is declared or used.
func (c *Catalogue) HasResource(name string) bool {
	_, ok := c.resources[name]
	return ok
}

// SharedData lists the stores that a component uses and others use too, in
// the order of their names.
func (c *Catalogue) SharedData(name string) []SharedStore {
	var out []SharedStore
	for _, r := range c.services[name].Uses {
		if !slices.Contains(dataTypes, c.resources[r]) {
			continue
		}
		if users := c.Users(r); len(users) > 1 {
			out = append(out, SharedStore{Name: r, Users: users})
		}
	}
	return out
}

// Users lists the components that use a resource, in the order of their names.
func (c *Catalogue) Users(resource string) []string {
	var out []string
	for _, s := range c.Services() {
		if slices.Contains(s.Uses, resource) {
			out = append(out, s.Name)
		}
	}
	return out
}

// Dependencies are the components that a component calls, directly or not,
// nearest first and then by name. Cycles are followed once; the component
// itself is never among them.
func (c *Catalogue) Dependencies(name string) []Neighbour {
	return c.walk(name, func(n string) []string { return c.services[n].DependsOn })
}

// Dependents are the components that call a component, directly or not, in
// the same order as Dependencies.
func (c *Catalogue) Dependents(name string) []Neighbour {
	return c.walk(name, func(n string) []string { return c.callers[n] })
}

func (c *Catalogue) walk(start string, next func(string) []string) []Neighbour {
	var out []Neighbour
	seen := map[string]bool{start: true}
	ring := []string{start}
	for distance := 1; distance <= MaxDistance && len(ring) > 0; distance++ {
		var found []Neighbour
		for _, from := range ring {
			for _, to := range next(from) {
				if _, known := c.services[to]; !known || seen[to] {
					continue
				}
				seen[to] = true
				found = append(found, Neighbour{Name: to, Distance: distance, Via: from})
			}
		}
		slices.SortFunc(found, func(a, b Neighbour) int { return cmp.Compare(a.Name, b.Name) })
		ring = ring[:0]
		for _, n := range found {
			ring = append(ring, n.Name)
		}
		out = append(out, found...)
	}
	return out
}

// parseRef reads an entity reference "[kind:][namespace/]name". Without a kind
// it is a component.
func parseRef(ref string) (kind, name string, err error) {
	kind, rest, ok := strings.Cut(ref, ":")
	if !ok {
		kind, rest = "component", ref
	}
	if ns, n, ok := strings.Cut(rest, "/"); ok {
		if ns != "default" {
			return "", "", fmt.Errorf("%q is in namespace %q, only default is supported", ref, ns)
		}
		rest = n
	}
	if !ValidServiceName(rest) {
		return "", "", fmt.Errorf("%q does not name an entity", ref)
	}
	return strings.ToLower(kind), rest, nil
}

// shortRef is an owner reference without kind and default namespace, such as
// "payments" for "group:default/payments".
func shortRef(ref string) string {
	if _, rest, ok := strings.Cut(ref, ":"); ok {
		ref = rest
	}
	return strings.TrimPrefix(ref, "default/")
}

func sortedSet(in []string) []string {
	slices.Sort(in)
	return slices.Compact(in)
}
