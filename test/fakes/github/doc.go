// Package fakegithub is a stand-in for GitHub: a server on loopback that
// speaks the part of the REST API that Backout uses, and shows the issues to a
// browser.
//
// Requests are held to facts derived from GitHub's OpenAPI document (see the
// contract folder): unknown parameters and fields, missing ones, values
// outside of an enumeration and wrong tokens are refused in GitHub's error
// envelope. It is stricter than GitHub in one point: GitHub ignores body
// fields that it does not know, the stand-in refuses them, because they are
// mistakes. Its own answers are held to the same facts. A test switches
// faults on with Inject.
//
// Tests and cmd/sandbox may import it; the product may not. It refuses to
// listen on anything but loopback.
package fakegithub
