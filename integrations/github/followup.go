package github

import (
	"context"
	"fmt"
	"strings"

	gh "github.com/google/go-github/v60/github"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// remarkPrefix begins the marker of a comment that says something once.
const remarkPrefix = "<!-- backout:remark="

// Stands is how an incident's issue stands. An issue that is not there any more is an
// error that wraps driver.ErrNotFound; it is never made anew.
func (t *Tracker) Stands(ctx context.Context, key string) (incident.PostmortemState, error) {
	issue, err := t.known(ctx, key)
	if err != nil {
		return incident.PostmortemState{}, err
	}
	return incident.PostmortemState{Open: issue.GetState() != "closed", Items: openItems(issue.GetBody())}, nil
}

// Remark says something under an incident's issue; the same id twice is said once. What
// GitHub would make of the text is taken out of it.
func (t *Tracker) Remark(ctx context.Context, key, id, text string) error {
	if id == "" || strings.ContainsAny(id, "<> \n") || strings.Contains(id, "--") {
		return fmt.Errorf("remark on postmortem of %q: %w: the id can not be marked", key, driver.ErrInvalid)
	}
	issue, err := t.known(ctx, key)
	if err != nil {
		return err
	}
	mark := remarkPrefix + id + " -->"
	owner, name := t.where(issue)
	what := fmt.Sprintf("remark on issue %d of %s/%s", issue.GetNumber(), owner, name)
	opts := &gh.IssueListCommentsOptions{ListOptions: gh.ListOptions{PerPage: pageSize}}
	for {
		comments, resp, err := t.conn.api.Issues.ListComments(ctx, owner, name, issue.GetNumber(), opts)
		if err != nil {
			return t.conn.classify(ctx, what, resp, err)
		}
		for _, c := range comments {
			if strings.Contains(c.GetBody(), mark) {
				return nil
			}
		}
		if resp.NextPage == 0 {
			break
		}
		opts.Page = resp.NextPage
	}
	body := mark + "\n" + neutral(text)
	_, resp, err := t.conn.api.Issues.CreateComment(ctx, owner, name, issue.GetNumber(), &gh.IssueComment{Body: &body})
	return t.conn.classify(ctx, what, resp, err)
}

// known is the issue of an incident, which must be there.
func (t *Tracker) known(ctx context.Context, key string) (*gh.Issue, error) {
	if err := checkKey(key); err != nil {
		return nil, fmt.Errorf("look at postmortem: %w: %w", driver.ErrInvalid, err)
	}
	at := t.place(key)
	at.mu.Lock()
	defer at.mu.Unlock()
	issue, err := t.find(ctx, key, at)
	if err != nil {
		return nil, err
	}
	if issue == nil {
		return nil, fmt.Errorf("look at postmortem of %q: %w", key, driver.ErrNotFound)
	}
	t.found(at, issue)
	return issue, nil
}

// openItems counts the boxes of a text that nobody ticked.
func openItems(text string) int {
	n := 0
	for _, found := range box.FindAllString(normal(text), -1) {
		if strings.HasSuffix(found, "[ ] ") {
			n++
		}
	}
	return n
}
