// Package contract holds the facts of Slack's Web API that the stand-in enforces:
// for each method its HTTP verb, the names and types of its arguments, which of
// them are required, its rate tier, the bot scopes that open it and the error
// codes it may answer with.
//
// The facts are derived from Slack's machine-readable method reference and kept
// in methods.json; they carry no prose. Regenerate them with
//
//	SLACK_METHODS=<folder of the reference> go generate ./test/fakes/slack/contract
//
// Only test/fakes/slack and tests may import it. It decides nothing: refusing is
// the stand-in's job.
package contract
