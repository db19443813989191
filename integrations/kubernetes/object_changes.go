package kubernetes

import (
	"context"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

func init() {
	driver.RegisterSource(objectInverse, systemType, func(c *cluster) driver.ChangeSource { return objectChanges{c} })
}

// objectChanges reads what was captured of an object, and its present state.
type objectChanges struct{ cluster *cluster }

// changeKinds say what a change of a resource is, where the runbook does not. Any
// other is a change of configuration.
var changeKinds = map[schema.GroupResource]incident.ChangeKind{
	{Resource: "services"}: incident.ChangeTraffic,
	{Group: "autoscaling", Resource: "horizontalpodautoscalers"}: incident.ChangeInfra,
	{Group: "networking.k8s.io", Resource: "networkpolicies"}:    incident.ChangeTraffic,
	{Group: "networking.k8s.io", Resource: "ingresses"}:          incident.ChangeTraffic,
	{Group: rbacGroup, Resource: "roles"}:                        incident.ChangeAccess,
	{Group: rbacGroup, Resource: "rolebindings"}:                 incident.ChangeAccess,
	{Group: gatewayGroup, Resource: "httproutes"}:                incident.ChangeTraffic,
	{Group: gatewayGroup, Resource: "grpcroutes"}:                incident.ChangeTraffic,
}

// Changes lists the moments at which a state of the object was put in place. A state
// that came and went while nobody captured it is unknown, and so is not listed.
func (s objectChanges) Changes(ctx context.Context, q driver.ChangeQuery) ([]incident.Change, error) {
	ref, err := parseObject(q.Target)
	if err != nil {
		return nil, err
	}
	present, err := s.cluster.object(ctx, ref)
	if err != nil {
		return nil, fmt.Errorf("read changes of %s: %w", q.Target, err)
	}
	kind := q.Kind
	if kind == "" {
		kind = changeKinds[ref.resource.GroupResource()]
	}
	if kind == "" {
		kind = incident.ChangeConfig
	}
	all := present.moments(present.live.GetAnnotations()[s.cluster.settings.AuthorAnnotation])
	var found []incident.Change
	for i, m := range all {
		// Times are whole seconds: a window that begins inside one includes it.
		if m.At.Before(q.Since.Truncate(time.Second)) || m.At.After(q.Until) {
			continue
		}
		change := incident.Change{
			// The number is not known yet of what nobody has captured.
			ID:     fmt.Sprintf("%s@%s@%d", ref, incident.ShortDigest(m.digest), m.At.Unix()),
			Source: objectInverse, Kind: kind, Service: q.Service, Target: q.Target,
			At: m.At, To: m.name(), Author: oneLine(m.Author, maxLabel),
		}
		var said []string
		switch created := present.live.GetCreationTimestamp().UTC(); {
		case i == 0 && m.At.Equal(created):
			change.From = incident.StateAbsent
			said = append(said, "created")
		case i == 0:
			said = append(said, "first state that was captured")
		default:
			change.From = all[i-1].name()
			said = append(said, present.difference(all[i-1].content, m.content))
		}
		if m.Bound {
			said = append(said, "at a time that was not recorded, at the earliest "+m.At.Format(time.RFC3339))
		}
		change.Summary = strings.Join(said, "; ")
		found = append(found, change)
	}
	return found, nil
}
