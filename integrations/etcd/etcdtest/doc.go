// Package etcdtest describes the kinds of integrations/etcd to the law suite.
//
// Only tests import it.
package etcdtest
