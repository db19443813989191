// Package replay holds recorded histories of every workflow and proves that
// the workflows as they are now still understand them: an incident that was
// open during an upgrade goes on after it.
//
// It measures nothing, mocks no workflow and needs nothing outside: the
// histories in testdata were recorded from the product on its embedded server,
// with vendors in memory. Nobody imports it.
//
//	go test ./test/replay                          replays every history
//	go test ./test/replay -run TestRecord -record  records them
//
// testdata/README.md says when to record and when never to.
package replay
