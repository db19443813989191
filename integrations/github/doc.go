// Package github connects Backout to GitHub: it keeps the one postmortem issue
// of an incident, lists what changed, takes changes back, and says who is in a
// team. Only an active membership counts, and only of a team that can be seen.
//
// It registers the system type "github" and
//
//   - the change source "github.deployments", and the inverse "github.redeploy"
//     beside it: an earlier deployment to "<owner>/<repo>/<environment>" again;
//   - the inverse and change source "github.workflow": a run of the workflow
//     "<owner>/<repo>/<workflow file>/<branch>" for an earlier commit;
//   - the inverse and change source "github.revert": the revert of one commit on
//     "<owner>/<repo>/<branch>" by a pull request.
//
// States are absolute: a deployment or run with its full commit, or the files
// that one commit touched as another commit has them. Nothing is ever named
// "previous" or by a branch that moves on.
//
// A deployment or run that was asked for carries a mark by which a retry finds
// it. GitHub has no condition for creating either. So each is checked against its
// neighbours as soon as it is made, and withdrawn when another one came first; in
// the moments between, whoever deploys could take it up, and the refusal says so.
// A revert does have one: an unprotected branch is only ever moved forward from
// the commit that was read, and a protected one merges by the rules that people
// gave it.
//
// The revert restores whole files. It merges no lines: where a newer commit
// changed one of the files, the plan is blocked and names it.
//
// The tracker never overwrites what people wrote: outside of its part of an issue
// everything stays, and so does what they wrote between its sections, a section that
// they changed and a box that they ticked. What it would write there instead goes into
// one comment. It never closes or reopens an issue. It finds an issue by
// hidden markers, any one of which will do, among the issues with its label, not
// by search, whose index lags: a retry after a lost response finds what was
// created. An issue that people moved to another repository is followed there; one
// that is gone is said to be, and no other is made in its place.
//
// The package sends its token to the configured host only, over TLS unless that
// host is loopback, and puts no token into an error.
//
// Only integrations/install and programs that choose their vendors import it.
package github
