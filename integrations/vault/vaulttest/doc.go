// Package vaulttest describes the kinds of integrations/vault to the law suite. Their
// counterpart is test/fakes/vault, because Vault is not to be had as a module.
//
// Only tests import it.
package vaulttest
