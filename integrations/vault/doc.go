// Package vault connects Backout to HashiCorp Vault, and to what speaks its HTTP API.
//
// It registers the system type "vault" and two kinds.
//
// "vault.kv" takes a secret of a KV engine with versions back to one of them: it
// writes the data of that version as a new one, with check-and-set on the version that
// was observed. It never undeletes, never destroys and never rewrites history.
//
// "vault.lease" revokes a lease, or all leases below a prefix. There is no way back.
// The state of a prefix is its newest lease: what is revoked is every lease that was
// issued until then, one by one and the oldest first, so that one that is issued
// meanwhile is not touched, and an attempt that was cut off can be continued. (To
// revoke by prefix in one request would end what nobody has looked at.)
//
// Secrets are read, compared and written back, and they appear nowhere else. A digest
// of a secret that can be guessed tells whether a guess is right, and states live in
// histories for long; so the states of "vault.kv" are digests under a key that only
// Backout has (digest_key_file in the settings).
//
// It refuses to guess: a version that is deleted or destroyed, an engine without
// versions, a secret that is at neither of the two states.
//
// Only integrations/install and programs that choose their vendors import it.
package vault
