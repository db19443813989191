// Package launchdarklytest describes the kinds of integrations/launchdarkly to the
// law suite, on the stand-in that is held to LaunchDarkly's OpenAPI document.
//
// Only tests import it.
package launchdarklytest
