// Package evidence keeps captured documents by their SHA-256 in an object
// store: a folder by default, S3 or Google Cloud Storage by URL.
//
// Content is stored once however often it is put, is never changed, and is
// checked against its digest whenever it is read, so that a digest in the
// ledger vouches for the document. There is no way to remove a document.
//
// The package does not redact: workflows/activities does that before it calls
// Put. It imports no other part of Backout but workflows/incident; cmd and the
// wiring of activities import it.
package evidence
