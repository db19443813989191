// Package unleashtest describes the kinds of integrations/unleash to the law suite,
// on a real Unleash.
//
// Only tests import it.
package unleashtest
