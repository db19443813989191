// Package natstest runs NATS servers with JetStream inside a test, and describes
// the kinds of integrations/nats to the law suite.
//
// Only tests import it: it links the whole server.
package natstest
