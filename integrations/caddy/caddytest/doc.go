// Package caddytest runs the real Caddy of test/caddy for tests, and describes the
// kind of integrations/caddy to the law suite.
//
// Only tests import it.
package caddytest
