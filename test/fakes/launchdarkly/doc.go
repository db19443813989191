// Package fakelaunchdarkly stands in for LaunchDarkly where the real service can not
// be had: flags with their configuration by environment, the audit log, approvals,
// scheduled changes and limits.
//
// It is held to the facts of LaunchDarkly's own OpenAPI document: requests that the
// document does not allow are refused, and an answer of its own that breaks the
// document is a 500 and recorded. It refuses what LaunchDarkly refuses: a JSON Patch
// whose test fails, that names a variation which does not exist or a rollout that is
// not 100 percent, a change without the role's action, a change where approval is
// required, more requests than the limit. The document leaves open what an audit log
// entry holds of a flag; here that is the flag as the API shows it.
//
// It listens on loopback only. Tests import it.
package fakelaunchdarkly
