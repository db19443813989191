package github

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	gh "github.com/google/go-github/v60/github"

	"github.com/backout/backout/integrations/driver"
	"github.com/backout/backout/workflows/incident"
)

// DefaultLabel is the label of postmortem issues. It must stay on them: an
// issue is found by it.
const DefaultLabel = "backout-postmortem"

// maxLabel is GitHub's limit for the name of a label, in characters.
// Source: https://docs.github.com/rest/issues/labels
const maxLabel = 50

// TrackerOptions say where postmortems are kept.
type TrackerOptions struct {
	Options
	// Repo is "<owner>/<name>".
	Repo string
	// Label marks the issues; empty means DefaultLabel. GitHub makes it when
	// it does not exist.
	Label string
	// Charts says that pictures are put into the repository, on ChartsBranch.
	Charts bool
}

// Tracker keeps the one postmortem issue of each incident. It implements the
// tracker port of workflows/activities and is safe for concurrent use.
type Tracker struct {
	conn        *connection
	owner, name string
	label       string
	charts      bool

	mu sync.Mutex
	// issues remembers where an incident's issue was found.
	issues map[string]*place
}

// place is the issue of one incident. Its lock keeps two activities of one
// worker from both finding nothing.
type place struct {
	mu sync.Mutex
	// owner, name and number say where it was last; number is 0 until it was found.
	owner, name string
	number      int
	// made says that it is known to have been made: if it is gone, no other is made in
	// its place.
	made bool
}

// NewTracker makes a tracker and sends nothing.
func NewTracker(o TrackerOptions) (*Tracker, error) {
	owner, name, err := parseRepo(o.Repo)
	if err != nil {
		return nil, fmt.Errorf("make tracker: %w", err)
	}
	if o.Label == "" {
		o.Label = DefaultLabel
	}
	if len([]rune(o.Label)) > maxLabel || strings.Contains(o.Label, ",") {
		return nil, fmt.Errorf("make tracker: label %q has a comma or more than %d characters", o.Label, maxLabel)
	}
	conn, err := connect(o.Options)
	if err != nil {
		return nil, fmt.Errorf("make tracker: %w", err)
	}
	return &Tracker{conn: conn, owner: owner, name: name, label: o.Label, charts: o.Charts, issues: make(map[string]*place)}, nil
}

// Close gives up idle connections.
func (t *Tracker) Close() error { return t.conn.Close() }

// Upsert creates the issue of an incident or brings its draft up to date, and
// does nothing when nothing changed. Should there be several issues of one
// incident, the oldest is it.
//
// What people wrote outside of the draft and between its sections stays, and so does a
// section that they changed or took away; the others go on being written, with the
// boxes ticked that people ticked. What Backout would write into a changed section, and
// the whole draft when its markers are gone, goes into one comment. A title that people
// changed stays. An issue that people moved to another repository is followed there,
// if the token may read there; one that is gone is an error that wraps
// driver.ErrNotFound, once Made has said that there was one.
func (t *Tracker) Upsert(ctx context.Context, key, title, body string) (incident.PostmortemRef, error) {
	if err := checkKey(key); err != nil {
		return incident.PostmortemRef{}, fmt.Errorf("write postmortem: %w: %w", driver.ErrInvalid, err)
	}
	title, body = neutralTitle(title), neutral(body)
	if title == "" {
		return incident.PostmortemRef{}, fmt.Errorf("write postmortem of %q: %w: title is empty", key, driver.ErrInvalid)
	}
	at := t.place(key)
	at.mu.Lock()
	defer at.mu.Unlock()
	issue, err := t.find(ctx, key, at)
	if err != nil {
		return incident.PostmortemRef{}, err
	}
	if issue == nil {
		issue, err = t.create(ctx, key, title, body)
	} else {
		err = t.update(ctx, issue, key, title, body)
	}
	if err != nil {
		return incident.PostmortemRef{}, err
	}
	t.found(at, issue)
	return incident.PostmortemRef{Number: issue.GetNumber(), URL: issue.GetHTMLURL()}, nil
}

func (t *Tracker) place(key string) *place {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.issues[key] == nil {
		t.issues[key] = &place{}
	}
	return t.issues[key]
}

// find returns the issue where it was last, or else the oldest one with the label and
// the incident's marker, or nil when GitHub's whole list has none.
func (t *Tracker) find(ctx context.Context, key string, at *place) (*gh.Issue, error) {
	if at.number > 0 {
		what := fmt.Sprintf("read issue %d of %s/%s", at.number, at.owner, at.name)
		issue, resp, err := t.conn.api.Issues.Get(ctx, at.owner, at.name, at.number)
		gone := err != nil && resp != nil && (resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusGone)
		switch {
		case err == nil && marked(issue, key):
			return issue, nil
		case err == nil && !issue.IsPullRequest() && !namesAny(issue.GetBody()):
			// People rewrote all of it, markers and all. It is still the one.
			return issue, nil
		case err != nil && !gone:
			return nil, t.conn.classify(ctx, what, resp, err)
		case gone && at.made:
			found, err := t.listed(ctx, key)
			if err == nil && found == nil {
				err = fmt.Errorf("%s: it was deleted, or moved to where the token may not read: %w", what, driver.ErrNotFound)
			}
			return found, err
		}
		// It was deleted, moved or made into another incident's: look again.
		at.number = 0
	}
	return t.listed(ctx, key)
}

// listed looks through GitHub's whole list.
func (t *Tracker) listed(ctx context.Context, key string) (*gh.Issue, error) {
	what := fmt.Sprintf("list issues of %s/%s", t.owner, t.name)
	opts := &gh.IssueListByRepoOptions{
		State: "all", Labels: []string{t.label}, Sort: "created", Direction: "asc", ListOptions: gh.ListOptions{PerPage: pageSize},
	}
	var rewritten []*gh.Issue
	for {
		issues, resp, err := t.conn.api.Issues.ListByRepo(ctx, t.owner, t.name, opts)
		if err != nil {
			return nil, t.conn.classify(ctx, what, resp, err)
		}
		for _, issue := range issues {
			if marked(issue, key) {
				return issue, nil
			}
			if !issue.IsPullRequest() && issue.GetComments() > 0 && !namesAny(issue.GetBody()) {
				rewritten = append(rewritten, issue)
			}
		}
		if resp.NextPage == 0 {
			return t.rewritten(ctx, key, rewritten)
		}
		opts.Page = resp.NextPage
	}
}

// rewritten returns the issue whose text people wrote anew, without the markers,
// but under which the comment with the incident's draft stands; or nil.
func (t *Tracker) rewritten(ctx context.Context, key string, candidates []*gh.Issue) (*gh.Issue, error) {
	for _, issue := range candidates {
		what := fmt.Sprintf("find draft under issue %d of %s/%s", issue.GetNumber(), t.owner, t.name)
		found, err := t.draftUnder(ctx, what, issue, key)
		if err != nil {
			return nil, err
		}
		if found != nil {
			return issue, nil
		}
	}
	return nil, nil //nolint:nilnil // There is none, which is no error.
}

// marked says that an issue is the incident's.
func marked(issue *gh.Issue, key string) bool {
	return !issue.IsPullRequest() && names(issue.GetBody(), key)
}

func (t *Tracker) create(ctx context.Context, key, title, draft string) (*gh.Issue, error) {
	issue, resp, err := t.conn.api.Issues.Create(ctx, t.owner, t.name, &gh.IssueRequest{
		Title: &title, Body: new(fresh(key, title, draft, part{})), Labels: &[]string{t.label},
	})
	if err != nil {
		return nil, t.conn.classify(ctx, fmt.Sprintf("create issue in %s/%s", t.owner, t.name), resp, err)
	}
	return issue, nil
}

// fresh is an issue's text with nothing of people's inside the draft.
func fresh(key, title, draft string, around part) string {
	all, _ := merge(nil, nil, split(draft))
	return layout(key, digest(title), all, nil, around)
}

func (t *Tracker) update(ctx context.Context, issue *gh.Issue, key, title, draft string) error {
	present, ok := parsePart(issue.GetBody())
	if !ok || present.body != "" && present.edited() {
		return t.comment(ctx, issue, key, title, draftNote+draft, true)
	}
	text, behind, edited := fresh(key, title, draft, present), []section(nil), false
	if present.body == "" {
		var all []piece
		now := pieces(present.draft)
		all, behind = merge(now, present.sections, split(draft))
		sum := digest(title)
		if digest(issue.GetTitle()) != present.title {
			sum = present.title // It is people's title, which stays.
		}
		text = layout(key, sum, all, present.sections, present)
		edited = slices.ContainsFunc(now, func(p piece) bool { return p.id != "" && p.edited() })
	}
	var change gh.IssueRequest
	if text != normal(issue.GetBody()) {
		change.Body = &text
	}
	if issue.GetTitle() != title && digest(issue.GetTitle()) == present.title {
		change.Title = &title
	}
	if change.Body != nil || change.Title != nil {
		owner, name := t.where(issue)
		_, resp, err := t.conn.api.Issues.Edit(ctx, owner, name, issue.GetNumber(), &change)
		if err != nil {
			return t.conn.classify(ctx, fmt.Sprintf("update issue %d of %s/%s", issue.GetNumber(), owner, name), resp, err)
		}
	}
	if !edited {
		return nil
	}
	note := nothingNew
	if len(behind) > 0 {
		note = sectionNote
		for i, s := range behind {
			if i > 0 {
				note += "\n\n"
			}
			note += s.text
		}
	}
	err := t.comment(ctx, issue, key, title, note, len(behind) > 0)
	if issue.GetLocked() && errors.Is(err, driver.ErrDenied) {
		return nil // People ended the conversation; the draft itself is written.
	}
	return err
}

// What heads the comment that holds what could not be written into the draft.
const (
	draftNote   = "_The draft above was edited, so Backout leaves it alone. This is what it would write now:_\n\n"
	sectionNote = "_These sections of the draft above were edited, so Backout leaves them alone. This is what it would write there now:_\n\n"
	nothingNew  = "_The sections of the draft above that were edited say all that Backout knows._"
)

// comment keeps what people's edits kept out of an issue in one comment under it. It
// is not made when there is nothing to say.
func (t *Tracker) comment(ctx context.Context, issue *gh.Issue, key, title, draft string, say bool) error {
	text := compose(key, title, draft, part{})
	owner, name := t.where(issue)
	what := fmt.Sprintf("keep draft in a comment on issue %d of %s/%s", issue.GetNumber(), owner, name)
	c, err := t.draftUnder(ctx, what, issue, key)
	if err != nil {
		return err
	}
	if c == nil && !say {
		return nil
	}
	if c == nil {
		_, resp, err := t.conn.api.Issues.CreateComment(ctx, owner, name, issue.GetNumber(), &gh.IssueComment{Body: &text})
		return t.conn.classify(ctx, what, resp, err)
	}
	present, ok := parsePart(c.GetBody())
	if !ok || present.edited() || normal(c.GetBody()) == text {
		// People took the comment over too, or nothing changed.
		return nil
	}
	_, resp, err := t.conn.api.Issues.EditComment(ctx, owner, name, c.GetID(), &gh.IssueComment{Body: &text})
	return t.conn.classify(ctx, what, resp, err)
}

// draftUnder returns the comment under an issue that holds the incident's draft, or
// nil when there is none.
func (t *Tracker) draftUnder(ctx context.Context, what string, issue *gh.Issue, key string) (*gh.IssueComment, error) {
	owner, name := t.where(issue)
	opts := &gh.IssueListCommentsOptions{ListOptions: gh.ListOptions{PerPage: pageSize}}
	for {
		comments, resp, err := t.conn.api.Issues.ListComments(ctx, owner, name, issue.GetNumber(), opts)
		if err != nil {
			return nil, t.conn.classify(ctx, what, resp, err)
		}
		for _, c := range comments {
			if names(c.GetBody(), key) {
				return c, nil
			}
		}
		if resp.NextPage == 0 {
			return nil, nil //nolint:nilnil // There is none, which is no error.
		}
		opts.Page = resp.NextPage
	}
}
