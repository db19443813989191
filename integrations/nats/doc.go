// Package nats connects Backout to NATS JetStream.
//
// It registers the system type "nats" and, for keys of JetStream key-value
// buckets, the inverse, change source and collector "nats.kv": configuration
// back to an absolute revision of its own history.
//
// A state of a key is its value, or that it is deleted. A rollback writes the
// old value as a new revision, by compare-and-set on the revision that was
// observed; it never purges and never rewrites history. Reads go to the leader
// of the bucket: a replica may answer a direct get with what was there before
// the write it is asked about.
//
// Values may be secrets. They are read, compared and written back, and they
// appear nowhere else: not in a state, an error, a preflight or evidence. Only
// a value that is spelled like a version number is shown, as a label.
//
// It refuses to guess: a revision that has left the history, a bucket that is a
// mirror, a key that is at neither of the two states. Writes are never queued
// while the connection is down: one that was given up must not arrive later.
//
// The collector "nats.stream" captures how much is queued in a stream and how far behind
// each of its consumers is. It needs to publish $JS.API.STREAM.INFO.<stream> and
// $JS.API.CONSUMER.LIST.<stream>.
//
// "nats.consumer" pauses, resumes and throttles a JetStream consumer in place; it
// never deletes one and never makes one anew, so that what was acknowledged is not
// delivered again. JetStream keeps no history of consumers and changes them without
// a condition. Both come from one stream, the consumer log:
//
//	name:      BACKOUT_CONSUMERS
//	subjects:  $JS.EVENT.ADVISORY.API
//	           backout.consumer.PAUSE.*.*
//	           backout.consumer.CREATE.*.*
//	republish: backout.consumer.*.*.*  to
//	           $JS.API.CONSUMER.{{wildcard(1)}}.{{wildcard(2)}}.{{wildcard(3)}}
//	max_age:   how far back a plan can look, such as 24h
//
// It records every call of the JetStream API, with who made it. Backout has no right
// to change a consumer. It publishes to the log, on condition that nothing was
// recorded since it looked, and the server hands the request on to its own API. What
// remains of a race is inside the server: a change that it carried out and has not
// recorded yet, which is microseconds later.
//
// Only integrations/install and programs that choose their vendors import it.
package nats
