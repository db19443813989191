package product

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"
)

// gitHubAPI is where github.com is asked, which is what an empty github.api_url means.
const gitHubAPI = "api.github.com"

// unlinked says that links in issues on github.com would lead to nowhere, because the
// address of the console is one that only this machine knows; empty when they do not.
// Nothing is refused for it: issues are right without.
func unlinked(c Config) string {
	if c.GitHub.TokenFile == "" || !onGitHub(c.GitHub.APIURL) {
		return ""
	}
	at, err := url.Parse(c.URL)
	if err != nil || !onlyHere(at.Hostname()) {
		return ""
	}
	return fmt.Sprintf("issues on github.com would link to %s, which nobody else can open: set url to the address at which browsers reach Backout", at.Redacted())
}

// onGitHub reports whether an address of the API is that of github.com.
func onGitHub(api string) bool {
	if api == "" {
		return true
	}
	at, err := url.Parse(api)
	if err != nil {
		return false
	}
	host := strings.ToLower(at.Hostname())
	return host == gitHubAPI || host == "github.com"
}

// onlyHere reports whether a host is this machine to each who asks: a loopback name or
// address, or none at all.
func onlyHere(host string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if host == "" || host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && (ip.Unmap().IsLoopback() || ip.Unmap().IsUnspecified())
}
