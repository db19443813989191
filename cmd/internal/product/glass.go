package product

import (
	"fmt"

	"github.com/backout/backout/workflows/incident"
)

// unwatched says, a sentence each, who would not be paged when somebody approves alone,
// past the policy, although the policy lets them. Nothing is refused for it: the card
// says it too.
func unwatched(c Config, r Rules) []string {
	allowed := false
	for t := incident.TierOnCall; t < incident.TierForbidden; t++ {
		allowed = allowed || r.Policy.BreakGlass(t)
	}
	if !allowed {
		return nil
	}
	const glass = "the policy allows break-glass, and "
	if c.PagerDuty.TokenFile == "" {
		return []string{glass + "nobody would be paged for it: set pagerduty.token_file"}
	}
	var out []string
	if c.PagerDuty.SecurityService == "" {
		out = append(out, glass+"nobody from security would be paged for it: set pagerduty.security_service")
	}
	for _, s := range r.Catalogue.Services() {
		if s.PagerDutyID == "" {
			out = append(out, fmt.Sprintf("%sthe owners of %s would not be paged for it: the catalogue names no PagerDuty service of it", glass, s.Name))
		}
	}
	return out
}
