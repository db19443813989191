package launchdarkly

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	// pageSize is LaunchDarkly's greatest page of the audit log, in entries.
	// Source: https://launchdarkly.com/docs/api/audit-log/get-audit-log-entries
	pageSize = 20
	// maxEntries is how many entries of a flag are read, the newest first. Each costs a
	// request, and the account has a limit on them.
	maxEntries = 60
)

// entry is one line of the audit log, as it is listed.
type entry struct {
	ID      string      `json:"_id"`
	Date    json.Number `json:"date"`
	Comment string      `json:"comment"`
	Member  struct {
		Email string `json:"email"`
	} `json:"member"`
	Token struct {
		Name string `json:"name"`
	} `json:"token"`
	App struct {
		Name string `json:"name"`
	} `json:"app"`
	Subject struct {
		Name string `json:"name"`
	} `json:"subject"`
}

// at is when the change was made, to the millisecond.
func (e entry) at() time.Time { return time.UnixMilli(whole(e.Date)).UTC() }

// author is who made the change.
func (e entry) author() string {
	for _, name := range []string{e.Member.Email, e.Token.Name, e.App.Name, e.Subject.Name} {
		if name != "" {
			return oneLine(name, maxLabel)
		}
	}
	return ""
}

// change is one line of the audit log in detail.
type change struct {
	entry
	// before and after are the flag in the environment; known is false where the
	// entry does not hold it. A flag that was made has no before.
	before, after flag
	known         bool
	made          bool
}

// alters reports whether the change is one of the state.
func (c change) alters() bool {
	return c.made || !equal(c.before.essence(), c.after.essence())
}

// log walks through the changes of a flag in an environment, newest first, until
// next says that it has seen enough. It reports whether it came to the log's end.
func (c *connection) log(ctx context.Context, at location, next func(change) (more bool)) (ended bool, err error) {
	seen := map[string]bool{}
	var before int64 // In milliseconds; 0 is now.
	for len(seen) < maxEntries {
		query := url.Values{"spec": {at.resource()}, "limit": {strconv.Itoa(pageSize)}}
		if before > 0 {
			query.Set("before", strconv.FormatInt(before, 10))
		}
		var page struct {
			Items []entry `json:"items"`
		}
		if err := c.call(ctx, http.MethodGet, "read audit log of flag "+at.flag, "/api/v2/auditlog", query, nil, &page); err != nil {
			return false, err
		}
		fresh := 0
		for _, e := range page.Items {
			if seen[e.ID] || e.ID == "" {
				continue
			}
			fresh++
			seen[e.ID] = true
			detailed, err := c.change(ctx, at, e)
			if err != nil {
				return false, err
			}
			if !next(detailed) {
				return false, nil
			}
			// Several entries may have one time: they are asked for again.
			before = whole(e.Date) + 1
		}
		if fresh == 0 || len(page.Items) < pageSize {
			return true, nil
		}
	}
	return false, nil
}

// change reads one entry in detail. The published document says nothing of the form
// of the flag in it: what has another form is not known.
func (c *connection) change(ctx context.Context, at location, e entry) (change, error) {
	var answer struct {
		Before json.RawMessage `json:"previousVersion"`
		After  json.RawMessage `json:"currentVersion"`
	}
	if err := c.call(ctx, http.MethodGet, "read an audit log entry of flag "+at.flag, "/api/v2/auditlog/"+url.PathEscape(e.ID), nil, nil, &answer); err != nil {
		return change{}, err
	}
	found := change{entry: e, made: empty(answer.Before)}
	after, err := readFlag(answer.After, at)
	if err != nil {
		return found, nil //nolint:nilerr // Such as of a flag that was deleted, and made anew.
	}
	found.after = after
	if found.made {
		found.known = true
		return found, nil
	}
	before, err := readFlag(answer.Before, at)
	if err != nil {
		return found, nil //nolint:nilerr // See above.
	}
	found.before, found.known = before, true
	return found, nil
}

func empty(raw json.RawMessage) bool {
	text := strings.TrimSpace(string(raw))
	return text == "" || text == "null" || text == `""` || text == "{}"
}

// readFlag reads a flag out of an entry.
func readFlag(raw json.RawMessage, at location) (flag, error) {
	var found document
	decoder := json.NewDecoder(strings.NewReader(string(raw)))
	decoder.UseNumber()
	if err := decoder.Decode(&found); err != nil {
		return flag{}, errors.New("decode entry: it has another form than expected")
	}
	f, err := found.in(at)
	if err != nil {
		return flag{}, err
	}
	if f.version() == 0 {
		return flag{}, errors.New("decode entry: it has no version")
	}
	return f, nil
}

// byVersion finds the configuration of a version in the audit log; ok is false when
// the log does not hold it.
func (c *connection) byVersion(ctx context.Context, at location, version int64) (found flag, ok bool, err error) {
	_, err = c.log(ctx, at, func(ch change) bool {
		if !ch.known {
			return true
		}
		for _, f := range []flag{ch.after, ch.before} {
			if f.version() == version && version > 0 {
				found, ok = f, true
			}
		}
		// Versions only fall from here on.
		return !ok && !ch.made && ch.before.version() > version
	})
	return found, ok, err
}

// before finds the configuration that was in force just before a time. when is the
// change that put an end to it; made says that the flag was not there yet.
func (c *connection) before(ctx context.Context, at location, when time.Time, now flag) (found flag, made, ok bool, err error) {
	found, ok = now, true
	ended, err := c.log(ctx, at, func(ch change) bool {
		if ch.at().Before(when) {
			return false
		}
		made, ok = ch.made, ch.known && !ch.made
		found = ch.before
		return ch.known && !ch.made
	})
	if err != nil {
		return flag{}, false, false, err
	}
	if ended && ok && time.UnixMilli(now.created).After(when) {
		return flag{}, true, false, nil
	}
	return found, made, ok, nil
}
