// Package haproxytest runs HAProxy for tests, with the extension of Backout loaded,
// and describes the kind of integrations/haproxy to the law suite.
//
// Only tests import it.
package haproxytest
