// Package openfeaturetest describes the kinds of integrations/openfeature to the law
// suite, on a real control plane with the definition of the operator's objects.
//
// Only tests import it.
package openfeaturetest
