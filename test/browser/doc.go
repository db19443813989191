// Package browser drives a real headless Chromium over the DevTools protocol, for
// tests of what people see: pages, clicks, pictures, and a virtual authenticator
// that answers WebAuthn as a passkey does.
//
// It knows nothing of the product. Tests import it, and nothing else.
package browser
