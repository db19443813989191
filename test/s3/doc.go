// Command s3 runs the real Versity S3 Gateway over a folder.
//
//	s3 <folder>
//
// It reads one line from its standard input, the access key and the secret key of the
// one account with a space between them, serves S3 on a free port of the loopback
// interface, and writes one line to standard output, the address, when it answers. A
// bucket is a folder in <folder>/buckets. It ends when its standard input does, so
// that it does not outlive a test.
//
// It is a module of its own because the gateway pins its dependencies; nothing
// imports it.
package main
