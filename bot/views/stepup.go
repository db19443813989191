package views

import (
	"fmt"
	"net/url"

	"github.com/slack-go/slack"

	"github.com/backout/backout/workflows/incident"
)

// needsStepUp reports whether an approval of the option counts with a second proof
// only. The policy says so.
func needsStepUp(o incident.Option) bool { return o.StepUp }

// ApprovePath is the page of the console on which an option is approved with a
// second proof. It carries the digest that the person saw before, so that the page
// can say when the plan is another one by now.
func ApprovePath(key string, o incident.Option) string {
	return "/incidents/" + key + "/approve/" + url.PathEscape(o.ID) + "?plan=" + url.QueryEscape(o.Digest)
}

// stepUpButton leads to that page. It is nil where the console's address is not
// known.
func stepUpButton(v incident.View, o incident.Option, index int, ref string) *slack.ButtonBlockElement {
	base, err := url.Parse(v.ConsoleURL)
	if err != nil || Link(v.ConsoleURL) == "" {
		return nil
	}
	path, err := url.Parse(ApprovePath(v.Key, o))
	if err != nil {
		return nil
	}
	address := Link(base.ResolveReference(path).String())
	b := button(fmt.Sprintf("%s:%d", ActionConsole, index), "Review and approve "+Plain(o.ID, 20), ref)
	if b == nil || address == "" {
		return nil
	}
	return b.WithURL(address)
}
