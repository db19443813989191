// Package redacttest has secrets of many shapes, to be planted wherever something is
// captured, and looked for wherever something is kept.
//
// None of them is or was a credential. Only tests import it.
package redacttest
