package activities

import (
	"context"
	"fmt"
	"slices"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// maxOverseers bounds whom one approval past the policy pages. A plan that changes
// more services than that has its commander and security looking at it already.
const maxOverseers = 20

// ServicePager is a Pager that can page who is on call for any service. It is
// optional: without it nobody is paged but the next level, which is said on the card.
type ServicePager interface {
	// PageService pages the people of a service, by the pager's service identifier,
	// about something that is not about that service; the same id twice pages once,
	// however much later.
	PageService(ctx context.Context, serviceID, id, title, text string) error
}

// Overseer is somebody who must know at once that the policy was passed by: security,
// or the owners of a service that the plan changes.
type Overseer struct {
	// Name is who that is, for people.
	Name string `json:"name"`
	// ServiceID is the pager's identifier of the service that pages them.
	ServiceID string `json:"service_id"`
}

// OverseersInput asks who must know of an approval past the policy.
type OverseersInput struct {
	Key    string          `json:"key"`
	Option incident.Option `json:"option"`
	// Service and ServiceID are what was paged.
	Service   string `json:"service"`
	ServiceID string `json:"service_id,omitempty"`
}

// Overseers are whom to page, and who can not be, each with why, for people.
type Overseers struct {
	Page    []Overseer `json:"page,omitempty"`
	Missing []string   `json:"missing,omitempty"`
}

// PageOverseerInput asks for one overseer to be paged.
type PageOverseerInput struct {
	// ID is the recorded event that is the cause: the same ID pages once.
	ID       string   `json:"id"`
	Overseer Overseer `json:"overseer"`
	Title    string   `json:"title"`
	Text     string   `json:"text"`
}

// FindOverseers lists who must know of an approval past the policy: security first,
// then the owners of each service that the plan changes, by what was shown and by the
// catalogue and runbook of now. Who can not be paged is never left out in silence.
func (a *Activities) FindOverseers(_ context.Context, in OverseersInput) (Overseers, error) {
	if _, can := a.Pager.(ServicePager); !can {
		return Overseers{Missing: []string{"neither security nor the owners were paged: pagerduty.token_file is not set"}}, nil
	}
	var out Overseers
	if a.Security == "" {
		out.Missing = append(out.Missing, "nobody from security was paged: pagerduty.security_service is not set")
	} else {
		out.Page = append(out.Page, Overseer{Name: "security", ServiceID: a.Security})
	}
	all, _, _ := a.radius(DecideInput{Key: in.Key, Option: in.Option}) // What makes an option unfit was judged.
	for _, ref := range deciding(DecideInput{Service: in.Service, ServiceID: in.ServiceID}, all.Services) {
		name := "the owners of " + ref.name
		if svc, known := a.service(ref.name, ref.pagerID); known && svc.PagerDutyID != "" {
			ref.pagerID = svc.PagerDutyID
		}
		switch {
		case ref.pagerID == "":
			out.Missing = append(out.Missing, name+" were not paged: the catalogue names no PagerDuty service of it")
		case slices.ContainsFunc(out.Page, func(o Overseer) bool { return o.ServiceID == ref.pagerID }):
		case len(out.Page) >= maxOverseers:
			out.Missing = append(out.Missing, name+fmt.Sprintf(" were not paged: more than %d services are touched", maxOverseers))
		default:
			out.Page = append(out.Page, Overseer{Name: name, ServiceID: ref.pagerID})
		}
	}
	return out, nil
}

// PageOverseer pages one overseer.
func (a *Activities) PageOverseer(ctx context.Context, in PageOverseerInput) error {
	p, can := a.Pager.(ServicePager)
	if !can {
		return asActivityError(fmt.Errorf("page %s: pager is %w", in.Overseer.Name, errNotConfigured))
	}
	if in.ID == "" {
		return asActivityError(fmt.Errorf("page %s: %w: the page has no cause", in.Overseer.Name, driver.ErrInvalid))
	}
	return asActivityError(p.PageService(ctx, in.Overseer.ServiceID, in.ID, in.Title, in.Text))
}
