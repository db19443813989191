// Package github connects Backout to GitHub: it keeps the one postmortem issue
// of an incident, and lists deployments as changes.
//
// It registers the system type "github" and the change source
// "github.deployments", whose target path is "<owner>/<repo>/<environment>".
//
// It never overwrites what people wrote: outside of its part of an issue
// everything stays, and when people changed that part, new drafts go into one
// comment instead. It never closes or reopens an issue. It finds an issue by
// hidden markers, any one of which will do, among the issues with its label, not
// by search, whose index lags: a retry after a lost response finds what was
// created. It sends its
// token to the configured host only, over TLS unless that host is loopback,
// and puts no token into an error.
//
// Only integrations/install and programs that choose their vendors import it.
package github
