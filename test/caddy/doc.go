// Command caddy runs the real Caddy with the modules that tests need: HTTP servers,
// the reverse proxy, and the metrics of the admin API.
//
//	caddy <configuration file>
//
// It runs the configuration, which is JSON, and writes one line to standard output
// when it is in force. It ends when its standard input does, so that it does not
// outlive a test, and touches no folder of the user: what it stores goes to the
// folder of the configuration file.
//
// It is a module of its own because Caddy pins its dependencies; nothing imports it.
package main
