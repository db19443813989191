package kubernetes

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/backout/backout/integrations/driver"
)

// expectedTime is what a rollout is expected to take, for want of a measure: a few
// batches of pods that each take some seconds.
const expectedTime = time.Minute

// Plan resolves the wanted revision against the workload's history.
func (i inverse) Plan(ctx context.Context, req driver.PlanRequest) (driver.Planned, error) {
	ref, err := parseTarget(req.Target)
	if err != nil {
		return driver.Planned{}, err
	}
	if (req.Revision == "") == req.Before.IsZero() {
		return driver.Planned{}, fmt.Errorf("plan %s: %w: want either a revision or a moment", req.Target, driver.ErrInvalid)
	}
	w, err := i.cluster.workload(ctx, ref)
	var checks driver.Findings
	switch {
	case errors.Is(err, driver.ErrNotFound):
		checks.Block("workload exists", "The %s %s in namespace %s does not exist.", ref.kind.noun, ref.name, ref.namespace)
		return driver.Planned{Preflight: checks}, nil
	case errors.Is(err, driver.ErrDenied):
		checks.Block("permission", "Backout may not read the %s %s and its history in namespace %s.", ref.kind.noun, ref.name, ref.namespace)
		return driver.Planned{Preflight: checks}, nil
	case err != nil:
		return driver.Planned{}, fmt.Errorf("plan %s: %w", req.Target, err)
	}
	checks.Pass("workload exists", "The %s %s runs %s.", ref.kind.noun, ref.name, present(w))
	inFlight(&checks, w)
	wanted, ok := resolve(&checks, w, req)
	if !ok {
		return driver.Planned{Preflight: checks}, nil
	}
	healthy(&checks, wanted)
	i.permitted(ctx, &checks, ref)
	if checks.Blocked() {
		return driver.Planned{Preflight: checks}, nil
	}
	return driver.Planned{
		From:         w.state(),
		To:           wanted.state(),
		Reversible:   true,
		ExpectedTime: expectedTime,
		WontRevert:   i.wontRevert(ctx, w, wanted),
		Preflight:    checks,
	}, nil
}

// resolve finds the wanted revision and checks that going there changes
// something that can be changed back.
func resolve(f *driver.Findings, w workload, req driver.PlanRequest) (wanted revision, ok bool) {
	const exists = "revision exists"
	if req.Revision != "" {
		number, err := strconv.ParseInt(req.Revision, 10, 64)
		if err != nil || number <= 0 {
			f.Block(exists, "%q is not a revision: revisions of a %s are whole numbers.", req.Revision, w.kind.noun)
			return revision{}, false
		}
		if wanted, ok = w.history.byNumber(number); !ok {
			f.Block(exists, "Revision %d is not in the history of %s, which keeps %d revisions.", number, w.name, len(w.history.revisions))
			return revision{}, false
		}
		f.Pass(exists, "The history of %s keeps %s.", w.name, named(number, wanted.template.label()))
	} else {
		moment := req.Before.UTC().Format(time.RFC3339)
		act, certain, found := w.history.before(req.Before)
		switch {
		case !found:
			f.Block(exists, "The history of %s does not reach back before %s.", w.name, moment)
			return revision{}, false
		case !certain:
			f.Unknown(exists, "Kubernetes did not record when %s came back, so that it may not have been in place at %s.", named(act.number, act.revision.template.label()), moment)
		default:
			f.Pass(exists, "%s was in place before %s.", capital(act.revision.name()), moment)
		}
		wanted = act.revision
	}
	if wanted.digest == w.digest {
		f.Block("not there already", "%s runs %s already.", w.name, wanted.name())
		return revision{}, false
	}
	if _, recorded := w.history.byDigest(w.digest); !recorded {
		f.Block("way back", "The present template of %s is not in its history yet, so that there would be no way back to it.", w.name)
		return revision{}, false
	}
	f.Pass("not there already", "%s differs: %s.", capital(wanted.name()), difference(w.template, wanted.template))
	return wanted, true
}

// healthy says whether the wanted revision was ever healthy. Kubernetes remembers
// that only of pods that are there now.
func healthy(f *driver.Findings, wanted revision) {
	const name = "was healthy"
	switch {
	case wanted.ready > 0:
		f.Pass(name, "%d pods of %s are ready now.", wanted.ready, wanted.name())
	case wanted.wanted > 0:
		f.Warn(name, "%s wants %d pods now and none of them is ready.", capital(wanted.name()), wanted.wanted)
	default:
		f.Unknown(name, "Kubernetes keeps no record of whether %s was healthy when it ran.", wanted.name())
	}
}

// inFlight does not keep a rollback from stopping a bad rollout half way, which is
// when it helps most.
func inFlight(f *driver.Findings, w workload) {
	switch {
	case w.rollout.held != "":
		f.Block("rolls out by itself", "The %s %s, so that nothing would be rolled out.", w.kind.noun, w.rollout.held)
	case !w.rollout.settled:
		f.Warn("no deploy in flight", "A rollout of %s is in flight: %s.", present(w), w.rollout.detail)
	default:
		f.Pass("no deploy in flight", "The rollout of %s is complete: %s.", present(w), w.rollout.detail)
	}
}

func (i inverse) permitted(ctx context.Context, checks *driver.Findings, ref reference) {
	const name = "permission"
	switch allowed, err := i.cluster.allowed(ctx, "patch", ref.kind.resource, ref.namespace, ref.name); {
	case err != nil:
		checks.Unknown(name, "The API server did not say whether Backout may patch %s.", ref.name)
	case !allowed:
		checks.Block(name, "Backout may not patch %s in namespace %s.", ref.kind.resource.Resource, ref.namespace)
	default:
		checks.Pass(name, "Backout may patch %s in namespace %s.", ref.name, ref.namespace)
	}
}

// wontRevert lists what stays as it is, as concretely as it can be read.
func (i inverse) wontRevert(ctx context.Context, w workload, wanted revision) []string {
	var stays []string
	configMaps, secrets := wanted.template.references()
	if len(configMaps) > 0 {
		stays = append(stays, "contents of ConfigMaps: "+strings.Join(configMaps, ", "))
	}
	if len(secrets) > 0 {
		stays = append(stays, "contents of Secrets: "+strings.Join(secrets, ", "))
	}
	stays = append(stays, volumes(w)...)
	if replicas, found, _ := unstructured.NestedInt64(w.object.Object, "spec", "replicas"); found {
		stays = append(stays, fmt.Sprintf("replica count: %d", replicas))
	}
	// Not being allowed to list them is no reason against the rollback.
	scalers, err := i.cluster.list(ctx, autoscalers, w.namespace, "", pageSize)
	if err == nil {
		for _, scaler := range scalers {
			kind, _, _ := unstructured.NestedString(scaler.Object, "spec", "scaleTargetRef", "kind")
			name, _, _ := unstructured.NestedString(scaler.Object, "spec", "scaleTargetRef", "name")
			if kind == w.object.GetKind() && name == w.name {
				stays = append(stays, "HorizontalPodAutoscaler "+scaler.GetName()+" and its limits")
			}
		}
	}
	return append(stays,
		"Services, routes and other objects that were deployed together",
		"databases and their migrations",
		"what the version wrote or sent while it ran",
	)
}

// volumes names the data that stays when pods are replaced.
func volumes(w workload) []string {
	var stays, claims []string
	templates, _, _ := unstructured.NestedSlice(w.object.Object, "spec", "volumeClaimTemplates") // Only a StatefulSet has them.
	for _, item := range templates {
		if fields, ok := item.(map[string]any); ok {
			name, _, _ := unstructured.NestedString(fields, "metadata", "name")
			claims = append(claims, name)
		}
	}
	if len(claims) > 0 {
		stays = append(stays, "data in the volumes of its pods, and whatever format the newer version left it in: "+strings.Join(claims, ", "))
	}
	mounted, _, _ := unstructured.NestedSlice(w.template, "spec", "volumes")
	for _, item := range mounted {
		fields, _ := item.(map[string]any)
		name, _, _ := unstructured.NestedString(fields, "name")
		if fields["hostPath"] != nil {
			stays = append(stays, "files on the nodes: "+name)
		}
		if claim, _, _ := unstructured.NestedString(fields, "persistentVolumeClaim", "claimName"); claim != "" {
			stays = append(stays, "data in the volume of claim "+claim)
		}
	}
	return stays
}

// present is what the workload's present template is called.
func present(w workload) string {
	if rev, ok := w.history.byDigest(w.digest); ok {
		return rev.name()
	}
	return "a template that its controller has not recorded"
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
