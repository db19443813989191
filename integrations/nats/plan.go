package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/backout/backout/integrations/driver"
)

// expectedTime is what a rollback is expected to take: a few round trips.
const expectedTime = time.Second

// Plan resolves the wanted revision against the key's history.
func (i inverse) Plan(ctx context.Context, req driver.PlanRequest) (driver.Planned, error) {
	at, err := parseTarget(req.Target)
	if err != nil {
		return driver.Planned{}, err
	}
	if (req.Revision == "") == req.Before.IsZero() {
		return driver.Planned{}, fmt.Errorf("plan %s: %w: want either a revision or a moment", req.Target, driver.ErrInvalid)
	}
	var checks driver.Findings
	settings, err := i.conn.bucket(ctx, at)
	var entries []entry
	if err == nil {
		entries, err = i.conn.history(ctx, at, 1)
	}
	switch {
	case errors.Is(err, driver.ErrNotFound):
		checks.Block("bucket exists", "The bucket %s does not exist.", at.bucket)
		return driver.Planned{Preflight: checks}, nil
	case errors.Is(err, driver.ErrDenied):
		checks.Block("permission", "Backout may not read the bucket %s.", at.bucket)
		return driver.Planned{Preflight: checks}, nil
	case err != nil:
		return driver.Planned{}, fmt.Errorf("plan %s: %w", req.Target, err)
	}
	writable(&checks, at, settings)
	if len(entries) == 0 {
		checks.Block("key exists", "The bucket %s has no revision of the key %s.", at.bucket, at.key)
		return driver.Planned{Preflight: checks}, nil
	}
	present := entries[len(entries)-1]
	checks.Pass("key exists", "The key %s is at %s.", at.key, present.name())
	keeps(&checks, at, settings)
	wanted, ok := resolve(&checks, at, entries, req)
	if !ok {
		return driver.Planned{Preflight: checks}, nil
	}
	if wanted.expires {
		checks.Warn("time to live", "%s was written with a time to live and comes back without one.", capital(wanted.name()))
	}
	i.permitted(ctx, &checks, at)
	if checks.Blocked() {
		return driver.Planned{Preflight: checks}, nil
	}
	return driver.Planned{
		From:         present.state(),
		To:           wanted.state(),
		Reversible:   settings.Depth > 1,
		ExpectedTime: expectedTime,
		WontRevert:   slices.Clone(wontRevert),
		Preflight:    checks,
	}, nil
}

func writable(f *driver.Findings, at location, settings bucketSettings) {
	const name = "bucket is writable"
	switch {
	case len(settings.Mirror) > 0 && string(settings.Mirror) != "null":
		f.Block(name, "The bucket %s is a mirror: the bucket it copies has to be rolled back.", at.bucket)
	case settings.Sealed:
		f.Block(name, "The bucket %s is sealed and can not be changed.", at.bucket)
	default:
		f.Pass(name, "The bucket %s takes writes.", at.bucket)
	}
}

// keeps tells what limits the history.
func keeps(f *driver.Findings, at location, settings bucketSettings) {
	const name = "history"
	switch {
	case settings.Depth <= 1:
		f.Warn(name, "The bucket %s keeps one revision of each key, so that there is nothing to go back to.", at.bucket)
	case settings.MaxAge > 0:
		f.Warn(name, "Revisions in the bucket %s expire after %s.", at.bucket, settings.MaxAge)
	default:
		f.Pass(name, "The bucket %s keeps %d revisions of each key.", at.bucket, settings.Depth)
	}
}

// resolve finds the wanted revision and checks that going there changes
// something.
func resolve(f *driver.Findings, at location, entries []entry, req driver.PlanRequest) (wanted entry, ok bool) {
	const exists = "revision exists"
	first, present := entries[0], entries[len(entries)-1]
	if req.Revision != "" {
		number, err := strconv.ParseUint(req.Revision, 10, 64)
		if err != nil || number == 0 {
			f.Block(exists, "%q is not a revision: revisions of a key are whole numbers.", req.Revision)
			return entry{}, false
		}
		found := slices.IndexFunc(entries, func(e entry) bool { return e.revision == number })
		if found < 0 {
			f.Block(exists, "Revision %d is not in the history of %s, which keeps %d from revision %d to %d.", number, at.key, len(entries), first.revision, present.revision)
			return entry{}, false
		}
		wanted = entries[found]
		f.Pass(exists, "The history of %s keeps %s.", at.key, wanted.name())
	} else {
		moment := req.Before.UTC().Format(time.RFC3339)
		for _, e := range entries {
			if e.created.Before(req.Before) {
				wanted, ok = e, true
			}
		}
		if !ok {
			f.Block(exists, "The history of %s does not reach back before %s: its oldest revision is %d.", at.key, moment, first.revision)
			return entry{}, false
		}
		f.Pass(exists, "%s was in place before %s.", capital(wanted.name()), moment)
	}
	if wanted.digest() == present.digest() {
		f.Block("not there already", "The key %s has the value of %s already.", at.key, wanted.name())
		return entry{}, false
	}
	f.Pass("not there already", "%s differs from %s.", capital(present.name()), wanted.name())
	return wanted, true
}

// permitted asks the server what this credential may publish.
func (i inverse) permitted(ctx context.Context, checks *driver.Findings, at location) {
	const name = "permission"
	switch allowed, err := i.conn.mayPublish(ctx, i.conn.writeSubject(at)); {
	case err != nil:
		checks.Unknown(name, "The server did not say whether Backout may write the key %s.", at.key)
	case !allowed:
		checks.Block(name, "Backout may not write the key %s of the bucket %s.", at.key, at.bucket)
	default:
		checks.Pass(name, "Backout may write the key %s.", at.key)
	}
}

// userInfoSubject is answered by the server with what the asking user may do.
// Source: https://docs.nats.io/running-a-nats-service/configuration/sys_accounts
const userInfoSubject = "$SYS.REQ.USER.INFO"

// mayPublish reports whether the server lets this connection publish to a
// subject.
func (c *connection) mayPublish(ctx context.Context, subject string) (bool, error) {
	answer, err := c.request(ctx, nats.NewMsg(userInfoSubject))
	if err != nil {
		return false, err
	}
	var info struct {
		Data *struct {
			Permissions struct {
				Publish struct {
					Allow []string `json:"allow"`
					Deny  []string `json:"deny"`
				} `json:"publish"`
			} `json:"permissions"`
		} `json:"data"`
	}
	if err := json.Unmarshal(answer.Data, &info); err != nil || info.Data == nil {
		return false, errors.New("decode user information: it has another form than expected")
	}
	publish := info.Data.Permissions.Publish
	matches := func(pattern string) bool { return subjectMatches(pattern, subject) }
	if slices.ContainsFunc(publish.Deny, matches) {
		return false, nil
	}
	return len(publish.Allow) == 0 || slices.ContainsFunc(publish.Allow, matches), nil
}

// subjectMatches reports whether a subject falls under a pattern.
// Source: https://docs.nats.io/nats-concepts/subjects#wildcards
func subjectMatches(pattern, subject string) bool {
	wanted, tokens := strings.Split(pattern, "."), strings.Split(subject, ".")
	for n, token := range wanted {
		switch {
		case token == ">":
			return len(tokens) > n
		case n >= len(tokens) || token != "*" && token != tokens[n]:
			return false
		}
	}
	return len(wanted) == len(tokens)
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
