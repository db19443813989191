// Package identity starts the real OpenID Connect provider of test/oidc as a child
// process, for tests. It builds nothing and looks for nothing. Tests import it, and
// nothing else.
package identity
