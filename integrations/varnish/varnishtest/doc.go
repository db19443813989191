// Package varnishtest describes the kind of integrations/varnish to the law suite, on
// a real Varnish.
//
// Only tests import it.
package varnishtest
