// Package etcdstore gives tests a real etcd: the one of test/etcd, one process for each
// test process, with users who have to say who they are.
//
// It builds nothing: a test that needs the store is skipped with the command that gives
// one, or, where CI is set, fails. Only tests import it.
package etcdstore
