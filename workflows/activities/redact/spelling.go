package redact

import (
	"bytes"
	"regexp"
)

// spelling is a secret that is known by how it is written.
type spelling struct {
	// what names the secret in its mark.
	what string
	re   *regexp.Regexp
	// group is the submatch that is the secret.
	group int
	// only, if not nil, has to agree.
	only func(secret []byte) bool
}

// replace takes the secrets of one spelling out of b and adds their number to
// n.
func (s spelling) replace(b []byte, n int) ([]byte, int) {
	matches := s.re.FindAllSubmatchIndex(b, -1)
	if matches == nil {
		return b, n
	}
	out := make([]byte, 0, len(b))
	from := 0
	for _, m := range matches {
		start, end := m[2*s.group], m[2*s.group+1]
		secret := b[start:end]
		if isPlaceholder(secret) || s.only != nil && !s.only(secret) {
			continue
		}
		out = append(out, b[from:start]...)
		out = append(out, mark(s.what)...)
		from = end
		n++
	}
	return append(out, b[from:]...), n
}

func whole(what, expr string) spelling {
	return spelling{what: what, re: regexp.MustCompile(expr)}
}

func part(what, expr string) spelling {
	return spelling{what: what, re: regexp.MustCompile(expr), group: 1}
}

func partIf(what, expr string, only func([]byte) bool) spelling {
	return spelling{what: what, re: regexp.MustCompile(expr), group: 1, only: only}
}

// spellings are tried in this order: what spans lines first, then tokens, then
// places where a secret stands without a name.
//
// The token formats are the issuers' own:
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html
// https://github.blog/engineering/platform-security/behind-githubs-new-authentication-token-formats/
// https://docs.gitlab.com/security/tokens/
// https://docs.slack.dev/authentication/tokens/
// https://docs.stripe.com/keys
// https://docs.npmjs.com/about-access-tokens
// https://cloud.google.com/docs/authentication/api-keys
// https://support.pagerduty.com/main/docs/api-access-keys
// https://github.com/nats-io/nkeys
// https://developer.hashicorp.com/vault/docs/concepts/tokens
var spellings = []spelling{
	part("private_key", `-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----([^\[][\s\S]*?)-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----`),
	// One that is cut off.
	part("private_key", `-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----((?:[A-Za-z0-9+/=:,\s-]|\\[nr])+)`),
	// One in base64, as in a kubeconfig. The lines after "-----BEGIN " are
	// "RSA PRIVATE", "PRIVATE KEY", "EC PRIVATE", "OPENSSH PRIVATE" and
	// "ENCRYPTED PRIVATE".
	whole("private_key", `LS0tLS1CRUdJTi(?:BSU0EgUFJJVkFUR|BQUklWQVRFIEtFW|BFQyBQUklWQVRF|BPUEVOU1NIIFBSSVZBVE|BFTkNSWVBURUQgUFJJVkFUR)[A-Za-z0-9+/=]*`),

	whole("aws_access_key", `\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b`),
	whole("github_token", `\bgh[pousr]_[A-Za-z0-9]{30,255}\b`),
	whole("github_token", `\bgithub_pat_[A-Za-z0-9_]{22,255}`),
	whole("gitlab_token", `\bgl(?:pat|dt|rt|cbt|ptt|ft|soat)-[A-Za-z0-9_.-]{20,}`),
	whole("slack_token", `\bxox[a-z](?:\.xox[a-z])?-[A-Za-z0-9-]{10,}`),
	whole("slack_token", `\bxapp-[0-9]-[A-Za-z0-9-]{10,}`),
	part("slack_webhook", `\bhttps://hooks\.slack\.com/(?:services|workflows|triggers)/([A-Za-z0-9/_-]+)`),
	whole("stripe_key", `\b(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{10,}`),
	whole("webhook_secret", `\bwhsec_[A-Za-z0-9+/=]{16,}`),
	whole("npm_token", `\bnpm_[A-Za-z0-9]{36}\b`),
	whole("google_api_key", `\bAIza[A-Za-z0-9_-]{35}`),
	whole("google_token", `\bya29\.[A-Za-z0-9_-]{20,}`),
	whole("google_client_secret", `\bGOCSPX-[A-Za-z0-9_-]{20,}`),
	whole("pagerduty_token", `\b(?:u|pd[a-z]{2})\+[A-Za-z0-9_-]{18,}`),
	whole("sendgrid_key", `\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}`),
	whole("twilio_key", `\bSK[0-9a-f]{32}\b`),
	whole("vault_token", `\bhv[sbr]\.[A-Za-z0-9_-]{20,}`),
	whole("digitalocean_token", `\bdo[opr]_v1_[0-9a-f]{64}\b`),
	whole("docker_token", `\bdckr_(?:pat|oat)_[A-Za-z0-9_-]{20,}`),
	whole("pypi_token", `\bpypi-[A-Za-z0-9_-]{50,}`),
	whole("grafana_token", `\bgl(?:sa|c)_[A-Za-z0-9+/=_]{20,}`),
	whole("model_api_key", `\bsk-[A-Za-z0-9_-]{32,}`),
	whole("launchdarkly_key", `\b(?:sdk|api|mob)-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`),
	whole("nats_seed", `\bS[AUONCX][A-Z2-7]{56}\b`),
	whole("jwt", `\beyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){2,4}`),

	// A header, also in JSON, in a list in JSON and inside a JSON string.
	part("authorization", `(?i)authorization\\*["']?\s*[:=]\s*\[?\s*\\*["']?(?:bearer|basic|token|digest|negotiate|apikey|aws4-hmac-sha256|genie?key)\s+([^"'\\\r\n\[\]]+)`),
	partIf("authorization", `(?i)authorization\\*["']?\s*[:=]\s*\[?\s*\\*["']?([^\s"'\\\[\]{}]{8,})`, notScheme),
	partIf("bearer_token", `(?i)\bbearer\s+([A-Za-z0-9._~+/=-]{12,})`, looksIssued),
	part("cookie", `(?i)\bset-cookie\\*["']?\s*[:=]\s*\[?\s*\\*["']?[^\s=;"']+=([^\s;"'\\\[\]]+)`),
	part("cookies", `(?i)(?:^|[^-\w])cookie\\*["']?\s*[:=]\s*\[?\s*\\*["']?([^\s=;"'\[\]]+=[^"'\\\r\n\[\]]+)`),

	part("url_password", `[A-Za-z][A-Za-z0-9+.-]*://[^\s/:@"'<>\[]*:([^\s/"'<>?#]+)@`),
	part("url_user", `[A-Za-z][A-Za-z0-9+.-]*://([^\s/:@"'<>?#]{16,})@`),
	part("url_parameter", `(?i)[?&](?:[a-z0-9_.-]*(?:token|secret|password|passwd|pwd|signature|credential|api[_-]?key)|key|sig|code|auth)=([^&\s"'#\\<>]+)`),
	part("password", `(?i)<(?:[a-z0-9_.:-]*(?:password|passwd|secret|token|apikey))>([^<]+)</`),
	part("password", `(?i)\b(?:identified\s+by|password)\s+'([^'\r\n]+)'`),
	part("password", `(?i)\bcurl\b[^\r\n]*?\s(?:-u|--user)[\s=]+["']?[^\s:"']+:([^\s"']+)`),
	part("password", `(?i)\blogin\s+\S+\s+password\s+(\S+)`),
}

// notScheme tells a bare credential from the word before one, and from prose.
func notScheme(secret []byte) bool {
	return !bytes.EqualFold(secret, []byte("negotiate")) && looksIssued(secret)
}

// looksIssued tells a token from a word: it holds a digit, or is longer than
// any word.
func looksIssued(secret []byte) bool {
	return bytes.ContainsAny(secret, "0123456789") || len(secret) >= 32
}
