// Command oidc runs a real OpenID Connect provider for tests: the one of
// github.com/zitadel/oidc, with people and clients in memory.
//
//	oidc <redirect URI>
//
// It listens on a loopback port of its own and writes one line of JSON to standard
// output when it does: the issuer, the client's ID and secret, and the people with
// their passwords. It ends when its standard input does, so that it does not
// outlive a test.
//
// It is a module of its own because the provider is no dependency of the product;
// nothing imports it.
package main
