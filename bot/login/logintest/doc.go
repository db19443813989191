// Package logintest is a small OpenID Connect provider and a passkey without a
// person, for tests of what refuses them.
//
// Both keep to their standards where a test does not ask for a lie. They hold no
// secret worth anything and listen on this machine only. Tests import it, and
// nothing else. The real provider and the real browser are in test/dex and
// test/browser.
package logintest
