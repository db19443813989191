package redact

import (
	"bytes"
	"regexp"
)

// spelling is a secret that is known by how it is written.
type spelling struct {
	// what names the secret in its mark.
	what string
	// begins are the texts that the spelling can begin with, of which one is
	// looked for before the expression is tried: that is many times faster
	// than trying the expression everywhere.
	begins []string
	// fold says that the case of begins does not matter.
	fold bool
	// inside says that the spelling may begin in the middle of a word.
	inside bool
	// re matches from there on. Its first group is the secret, or all of it
	// when there is no group.
	re *regexp.Regexp
	// only, if not nil, has to agree.
	only func(secret []byte) bool
}

// token is a spelling that is a secret as a whole.
func token(what, expr string, begins ...string) spelling {
	return spelling{what: what, begins: begins, re: regexp.MustCompile(`^(?:` + expr + `)`)}
}

// place is a spelling around a secret, which is the group of the expression.
func place(what, expr string, begins ...string) spelling {
	return spelling{what: what, begins: begins, fold: true, inside: true, re: regexp.MustCompile(`(?i)^(?:` + expr + `)`)}
}

// and lets only have the last word.
func (s spelling) and(only func(secret []byte) bool) spelling {
	s.only = only
	return s
}

// apart asks that the spelling begins a word.
func (s spelling) apart() spelling {
	s.inside = false
	return s
}

// redactSpelled takes the secrets of all spellings out of b and adds their number to n.
func redactSpelled(b []byte, n int) ([]byte, int) {
	low := lower(b)
	for _, s := range spellings {
		for _, begin := range s.begins {
			search := b
			if s.fold {
				search = low
			}
			out, found := s.replaceAt(begin, b, search, n)
			if found > n {
				b, low, n = out, lower(out), found
			}
		}
	}
	return b, n
}

// replaceAt takes the secrets of one spelling with one beginning, which is looked for
// in search, out of b.
func (s spelling) replaceAt(begin string, b, search []byte, n int) ([]byte, int) {
	var out []byte
	from := 0
	for at := 0; ; {
		i := bytes.Index(search[at:], []byte(begin))
		if i < 0 {
			break
		}
		i += at
		at = i + 1
		if !s.inside && i > 0 && isWordByte(b[i-1]) {
			continue
		}
		m := s.re.FindSubmatchIndex(b[i:])
		if m == nil {
			continue
		}
		start, end := i+m[len(m)-2], i+m[len(m)-1]
		secret := b[start:end]
		if isPlaceholder(secret) || s.only != nil && !s.only(secret) {
			continue
		}
		out = append(out, b[from:start]...)
		out = append(out, mark(s.what)...)
		from, at = end, end
		n++
	}
	if from == 0 {
		return b, n
	}
	return append(out, b[from:]...), n
}

// lower is b with ASCII letters in lower case, and nothing else changed, so
// that places in it are places in b.
func lower(b []byte) []byte {
	out := make([]byte, len(b))
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		out[i] = c
	}
	return out
}

func isWordByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
}

// header is what may stand between the name of a header and its value, also in
// JSON, in a list in JSON, inside of a JSON string, and as Go, Ruby and Python print it.
const header = `(?:\\*["']?\s*[:=]>?|\\*["']\s*,)\s*(?:\[\][a-z]+\{|\[)?\s*b?\\*["']?`

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
	place("private_key", `-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----([^\[](?:[^-]|-{1,4}[^-])*)-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----`, "-----begin "),
	// One that is cut off.
	place("private_key", `-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----((?:[A-Za-z0-9+/=:,\s-]|\\[nr/])+)`, "-----begin "),
	// One in base64, as in a kubeconfig. What follows "-----BEGIN " there is
	// "RSA PRIVATE", "PRIVATE KEY", "EC PRIVATE", "OPENSSH PRIVATE" and
	// "ENCRYPTED PRIVATE".
	token("private_key", `LS0tLS1CRUdJTi(?:BSU0EgUFJJVkFUR|BQUklWQVRFIEtFW|BFQyBQUklWQVRF|BPUEVOU1NIIFBSSVZBVE|BFTkNSWVBURUQgUFJJVkFUR)[A-Za-z0-9+/=]*`, "LS0tLS1CRUdJTi"),

	place("private_key", `private-lines:[ \t]*[0-9]+[ \t]*\r?\n([^\[][\s\S]*?)\r?\nprivate-mac:`, "private-lines:"),
	token("age_key", `AGE-SECRET-KEY-1[A-Z0-9]{50,}`, "AGE-SECRET-KEY-1"),

	token("aws_access_key", `A[KSBC][IC]A[A-Z0-9]{16}\b`, "AKIA", "ASIA", "ABIA", "ACCA"),
	token("github_token", `gh[pousr]_[A-Za-z0-9]{30,255}\b`, "ghp_", "gho_", "ghu_", "ghs_", "ghr_"),
	token("github_token", `github_pat_[A-Za-z0-9_]{22,255}`, "github_pat_"),
	token("gitlab_token", `gl(?:pat|dt|rt|cbt|ptt|ft|soat)-[A-Za-z0-9_.-]{20,}`, "glpat-", "gldt-", "glrt-", "glcbt-", "glptt-", "glft-", "glsoat-"),
	token("slack_token", `xox[a-z](?:\.xox[a-z])?-[A-Za-z0-9-]{10,}`, "xox"),
	token("slack_token", `xapp-[0-9]-[A-Za-z0-9-]{10,}`, "xapp-"),
	place("slack_webhook", `//hooks\.slack\.com/(?:services|workflows|triggers)/([A-Za-z0-9/_-]+)`, "//hooks.slack.com/"),
	token("stripe_key", `[sr]k_(?:live|test)_[A-Za-z0-9]{10,}`, "sk_", "rk_"),
	token("webhook_secret", `whsec_[A-Za-z0-9+/=]{16,}`, "whsec_"),
	token("npm_token", `npm_[A-Za-z0-9]{36}\b`, "npm_"),
	token("google_api_key", `AIza[A-Za-z0-9_-]{35}`, "AIza"),
	token("google_token", `ya29\.[A-Za-z0-9_-]{20,}`, "ya29."),
	token("google_client_secret", `GOCSPX-[A-Za-z0-9_-]{20,}`, "GOCSPX-"),
	token("pagerduty_token", `(?:u|pd[a-z]{2})\+[A-Za-z0-9_-]{18,}`, "u+", "pd"),
	token("sendgrid_key", `SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}`, "SG."),
	token("twilio_key", `SK[0-9a-f]{32}\b`, "SK"),
	token("vault_token", `hv[sbr]\.[A-Za-z0-9_-]{20,}`, "hvs.", "hvb.", "hvr."),
	token("digitalocean_token", `do[opr]_v1_[0-9a-f]{64}\b`, "doo_v1_", "dop_v1_", "dor_v1_"),
	token("docker_token", `dckr_(?:pat|oat)_[A-Za-z0-9_-]{20,}`, "dckr_"),
	token("pypi_token", `pypi-[A-Za-z0-9_-]{50,}`, "pypi-"),
	token("grafana_token", `gl(?:sa|c)_[A-Za-z0-9+/=_]{20,}`, "glsa_", "glc_"),
	token("model_api_key", `sk-[A-Za-z0-9_-]{32,}`, "sk-"),
	token("launchdarkly_key", `(?:sdk|api|mob)-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b`, "sdk-", "api-", "mob-"),
	token("huggingface_token", `hf_[A-Za-z0-9]{30,}\b`, "hf_"),
	token("shopify_token", `shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}\b`, "shpat_", "shpca_", "shppa_", "shpss_"),
	token("databricks_token", `dapi[0-9a-f]{32}(?:-[0-9])?\b`, "dapi"),
	token("newrelic_key", `NRAK-[A-Z0-9]{27}\b`, "NRAK-"),
	token("postman_key", `PMAK-[0-9a-f]{24}-[0-9a-f]{34}\b`, "PMAK-"),
	token("linear_key", `lin_api_[A-Za-z0-9]{40}\b`, "lin_api_"),
	token("doppler_token", `dp\.(?:ct|pt|st|sa|scim|audit)\.[A-Za-z0-9_.-]{40,}`, "dp."),
	token("planetscale_token", `pscale_(?:tkn|pw|oauth)_[A-Za-z0-9_.=-]{32,}`, "pscale_"),
	token("atlassian_token", `ATATT3[A-Za-z0-9_=-]{100,}`, "ATATT3"),
	token("flyio_token", `fo1_[A-Za-z0-9_-]{40,}`, "fo1_"),
	place("telegram_token", `/bot([0-9]{6,12}:[A-Za-z0-9_-]{30,})`, "/bot"),
	place("discord_webhook", `/api/webhooks/[0-9]+/([A-Za-z0-9_-]{20,})`, "/api/webhooks/"),
	token("nats_seed", `S[AUONCX][A-Z2-7]{56}\b`, "SA", "SU", "SO", "SN", "SC", "SX"),
	token("jwt", `eyJ[A-Za-z0-9_-]{8,}(?:(?:\.|%2[eE])[A-Za-z0-9_-]*){2,4}`, "eyJ"),

	place("authorization", `authorization`+header+`(?:bearer|basic|token|digest|negotiate|apikey|aws4-hmac-sha256|geniekey)\s+([^"'\\\r\n\[\]]+)`, "authorization"),
	place("authorization", `authorization`+header+`([^\s"'\\\[\]{}]{8,})`, "authorization").and(notScheme),
	place("bearer_token", `bearer\s+([A-Za-z0-9._~+/=-]{12,})`, "bearer").apart().and(looksIssued),
	place("password_verifier", `scram-sha-(?:1|256|512)\$([0-9]+:[A-Za-z0-9+/=]+\$[A-Za-z0-9+/=]+:[A-Za-z0-9+/=]+)`, "scram-sha-").apart(),
	token("password_hash", `\$2[abxy]\$[0-9]{2}\$[./A-Za-z0-9]{53}`, "$2a$", "$2b$", "$2x$", "$2y$"),
	token("password_hash", `\$argon2(?:id|i|d)\$[A-Za-z0-9+/=$,]{20,}`, "$argon2"),
	token("password_hash", `\$(?:[156]|y|7|gy)\$[./A-Za-z0-9$=]{20,}`, "$1$", "$5$", "$6$", "$y$", "$7$", "$gy$"),
	place("password", `pass(?:word|phrase|code)\s+(?:is|was)\s+["']?([^\s"'\\]{6,}[^\s"'\\.,;])`, "pass").apart().and(looksIssued),

	place("cookie", `set-cookie`+header+`[^\s=;"']+=([^\s;"'\\\[\]]+)`, "set-cookie"),
	place("cookies", `cookie`+header+`([^\s=;"'\[\]]+=[^"'\\\r\n\[\]]+)`, "cookie").apart(),

	place("url_password", `://[^\s/:@"'<>\[]*:([^\s/"'<>?#]+)@`, "://"),
	place("url_user", `://([^\s/:@"'<>?#]{16,})@`, "://"),
	place("url_parameter", `[?&](?:[a-z0-9_.-]*(?:token|secret|password|passwd|pwd|signature|credential|api[_-]?key)|key|sig|code|auth)=([^&\s"'#\\<>]+)`, "?", "&"),
	place("password", `(?:<|\\+u003c)(?:[a-z0-9_.:-]*(?:password|passwd|secret|token|apikey))(?:>|\\+u003e)([^<\\]+)(?:<|\\+u003c)/`, "<", `\u003c`),
	place("password", `(?:identified\s+by|password)\s+'([^'\r\n]+)'`, "identified", "password").apart(),
	place("password", `curl\b[^\r\n]{0,400}?\s(?:-u|--user)[\s=]+["']?[^\s:"']+:([^\s"']+)`, "curl").apart(),
	place("password", `login\s+\S+\s+password\s+(\S+)`, "login").apart(),
	place("password", `(?:mysql|mariadb)[a-z-]*\s[^\r\n]{0,400}?\s?-p([^\s"']+)`, "mysql", "mariadb").apart(),
	place("password", `redis-cli\s[^\r\n]{0,400}?\s?-a\s+["']?([^\s"']+)`, "redis-cli").apart(),
	place("password", `sshpass\s+-p\s*["']?([^\s"']+)`, "sshpass").apart(),
	place("password", `(?:docker|podman|helm\s+registry|oras|crane\s+auth)\s+login\s[^\r\n]{0,400}?\s?-p\s+["']?([^\s"']+)`, "docker", "podman", "helm", "oras", "crane").apart(),
	place("password", `jdbc:oracle:[a-z0-9]+:[^/\s@"']+/([^\s@"']+)@`, "jdbc:oracle:"),
	place("listed_value", `value\\*"\s*:\s*\\*"([^"\\]+)\\*"\s*,\s*\\*"(?:name|key)\\*"\s*:\s*\\*"[a-z0-9_.-]*(?:`+secretName+`)\\*"`, "value"),
	place("secret_data", `data:map\[string\]\[\](?:uint8|byte)\{((?:"[^"]*":\[\]uint8\{[^}]*\}(?:,\s*)?|[^{}\[\]]+:\s?\[[0-9 ]*\],?)+)\}`, "data:map"),
	place("basic_credentials", `basic\s+([A-Za-z0-9+/_-]{8,}={0,2})`, "basic").apart().and(isUserPassword),
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
