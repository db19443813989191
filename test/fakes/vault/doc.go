// Package fakevault stands in for the part of Vault's HTTP API that is about secrets
// with versions, leases and capabilities. It is held to the documented behaviour and
// refuses what Vault refuses: a token that it does not know, a path that the policies
// of the token do not cover, a check-and-set that does not match, a version that is
// deleted or destroyed, requests above a rate, anything while it is sealed.
//
// Sources, all below https://developer.hashicorp.com/vault/api-docs/: secret/kv/kv-v2,
// system/leases, system/capabilities-self, system/health; for policies
// https://developer.hashicorp.com/vault/docs/concepts/policies
//
// What it does not do: it encrypts nothing, and leases stand for no credential. Only
// tests import it.
package fakevault
