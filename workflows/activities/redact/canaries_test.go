package redact_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/workflows/activities/redact"
)

// canary is a secret planted in a document: what of it must not survive.
type canary struct {
	name, document, secret string
	// mediaType is text when it is empty.
	mediaType string
}

// b64 is text as a Kubernetes Secret holds it.
func b64(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// quoted is a document as a string in another one.
func quoted(document string) string {
	out, _ := json.Marshal(document) // A string can always be encoded.
	return string(out)
}

// canaries are secrets of different shapes in the documents that collectors capture.
// No two have the same shape: the spelling, or the place in which they stand.
func canaries() []canary {
	word := "correct-horse-battery"
	secret := `{"apiVersion":"v1","data":{"username":"` + b64("shop-admin-user") + `","tls.crt":"eA=="},"kind":"Secret"}`
	var seed strings.Builder
	for seed.Len() < 56 {
		seed.WriteString("ABCDEFG2")
	}
	return []canary{
		{name: "AWS access key in a log line", document: "using " + awsKey + " now", secret: awsKey},
		{name: "AWS temporary access key", document: "id=" + "ASIA" + "IOSFODNN7EXAMPLE", secret: "ASIA" + "IOSFODNN7EXAMPLE"},
		{name: "AWS secret key in a profile", document: "[default]\naws_secret_access_key = " + awsSecret, secret: awsSecret},
		{name: "AWS session token in the environment", document: "AWS_SESSION_TOKEN=IQoJb3JpZ2luX2VjEXAMPLE", secret: "IQoJb3JpZ2luX2VjEXAMPLE"},
		{name: "GitHub classic token", document: "git clone https://x-access-token:" + githubPAT + "@github.com/a/b", secret: githubPAT},
		{name: "GitHub fine-grained token", document: "token github_pat_" + strings.Repeat("A1b2c3", 10), secret: strings.Repeat("A1b2c3", 10)},
		{name: "GitHub app token", document: "auth ghs_" + strings.Repeat("Zy9x", 9), secret: strings.Repeat("Zy9x", 9)},
		{name: "GitLab token", document: "PRIVATE-TOKEN: glpat-" + "abcdefghij0123456789", secret: "abcdefghij0123456789"},
		{name: "Slack bot token", document: "client " + slackBot, secret: slackBot},
		{name: "Slack app token", document: "xapp-1-" + "A0123456789-1234-abcdef", secret: "A0123456789-1234-abcdef"},
		{name: "Slack webhook", document: "POST https://hooks.slack.com/services/" + hook, secret: hook},
		{name: "Stripe secret key", document: "stripe sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc", secret: "4eC39HqLyjWDarjtT1zdp7dc"},
		{name: "Stripe restricted key", document: "stripe rk_live_" + "9aD39HqLyjWDarjtT1zdp7dc", secret: "9aD39HqLyjWDarjtT1zdp7dc"},
		{name: "Stripe webhook secret", document: "whsec_" + "5fD39HqLyjWDarjtT1zdp7dc", secret: "5fD39HqLyjWDarjtT1zdp7dc"},
		{name: "npm token in .npmrc", document: "//registry.npmjs.org/:_authToken=npm_" + strings.Repeat("aB3d", 9), secret: strings.Repeat("aB3d", 9)},
		{name: "PyPI token", document: "pypi-" + strings.Repeat("AgEIcHlwaS5vcmc", 5), secret: strings.Repeat("AgEIcHlwaS5vcmc", 5)},
		{name: "Google API key", document: "AIza" + strings.Repeat("SyD-9", 7), secret: strings.Repeat("SyD-9", 7)},
		{name: "Google OAuth token", document: "ya29." + strings.Repeat("a0AfH", 6), secret: strings.Repeat("a0AfH", 6)},
		{name: "PagerDuty token", document: "Authorization: Token token=y_NBAkKc66ryYTWUXYEu", secret: "y_NBAkKc66ryYTWUXYEu"},
		{name: "Vault token", document: "VAULT said hvs." + strings.Repeat("CAESI", 6), secret: strings.Repeat("CAESI", 6)},
		{name: "SendGrid key", document: "SG." + strings.Repeat("a1b2", 5) + "." + strings.Repeat("c3d4", 8), secret: strings.Repeat("c3d4", 8)},
		{name: "NATS seed", document: "seed SU" + seed.String(), secret: seed.String()},
		{name: "Docker Hub token", document: "login dckr_pat_" + strings.Repeat("aB-9", 7), secret: strings.Repeat("aB-9", 7)},
		{name: "Telegram bot token", document: "https://api.telegram.org/bot123456789:" + "AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw/sendMessage", secret: "AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"},
		{name: "Discord webhook", document: "https://discord.com/api/webhooks/123456789012345678/" + strings.Repeat("aBcD-9_e", 8), secret: strings.Repeat("aBcD-9_e", 8)},
		{name: "Sentry DSN", document: "dsn https://" + strings.Repeat("0a1b", 8) + "@o1.ingest.sentry.io/2", secret: strings.Repeat("0a1b", 8)},
		{name: "age key", document: "AGE-SECRET-KEY-1" + strings.Repeat("QPZRY9X8GF", 5) + "2TVDW0S3", secret: strings.Repeat("QPZRY9X8GF", 5)},
		{name: "JWT in a query", document: "GET /ws?jwt=" + jwt, secret: strings.Split(jwt, ".")[2]},
		{name: "JWT in a log", document: "claims of " + jwt + " expired", secret: strings.Split(jwt, ".")[1]},
		{name: "private key", document: pemOf("RSA PRIVATE KEY", pemBody), secret: "q7Zk9"},
		{name: "encrypted private key in JSON", document: `{"pem":` + quoted(pemOf("ENCRYPTED PRIVATE KEY", pemBody)) + `}`, secret: "q7Zk9", mediaType: "application/json"},
		{name: "private key in base64", document: "data " + b64(pemOf("EC PRIVATE KEY", pemBody)), secret: b64(pemOf("EC PRIVATE KEY", pemBody))[20:]},
		{name: "PuTTY private key", document: "PuTTY-User-Key-File-2: ssh-rsa\nEncryption: none\nPrivate-Lines: 2\nAAAAgQC7Zk9q\nBBBBgQC7Zk9q\nPrivate-MAC: 0123", secret: "AAAAgQC7Zk9q"},
		{name: "bearer header in a transcript", document: "> Authorization: Bearer " + word + ".x1", secret: word},
		{name: "basic header", document: "authorization: Basic " + b64("shop:"+word), secret: b64("shop:" + word)},
		{name: "proxy authorization", document: "Proxy-Authorization: Basic " + b64("proxy:"+word), secret: b64("proxy:" + word)},
		{name: "API key header", document: "X-Api-Key: " + word, secret: word},
		{name: "API key header in JSON", document: `{"headers":{"X-Auth-Token":["` + word + `"]}}`, secret: word, mediaType: "application/json"},
		{name: "cookie header", document: "Cookie: sid=" + word + "; theme=dark", secret: word},
		{name: "set-cookie header", document: "Set-Cookie: sid=" + word + "; Path=/", secret: word},
		{name: "URL password", document: "dial postgres://shop:" + word + "@db:5432/orders", secret: word},
		{name: "URL password, percent-encoded", document: "amqp://shop:" + url.QueryEscape(word+"/!") + "@mq:5672", secret: word},
		{name: "MongoDB with several hosts", document: "mongodb+srv://shop:" + word + "@a.example,b.example/db?w=majority", secret: word},
		{name: "ADO connection string", document: "Server=db;User Id=shop;Pwd=" + word + ";Encrypt=true", secret: word},
		{name: "JDBC parameters", document: "jdbc:postgresql://db/orders?user=shop&password=" + word + "&ssl=true", secret: word},
		{name: "libpq words", document: "host=db user=shop password=" + word + " dbname=orders", secret: word},
		{name: "Azure storage", document: "AccountName=shop;AccountKey=" + awsSecret + "==;EndpointSuffix=core", secret: awsSecret},
		{name: "Azure SAS", document: "https://shop.blob.core.windows.net/x?sv=2022&sig=" + url.QueryEscape(awsSecret), secret: url.QueryEscape(awsSecret)},
		{name: "presigned S3 URL", document: "https://s3/x?X-Amz-Signature=" + strings.Repeat("0a1b", 16), secret: strings.Repeat("0a1b", 16)},
		{name: "environment assignment", document: "DB_PASSWORD=" + word, secret: word},
		{name: "exported assignment in quotes", document: "export API_TOKEN='" + word + " two'", secret: word},
		{name: "env in a process list", document: "root 1 /bin/app --db-password " + word + " --port 80", secret: word},
		{name: "JSON member", document: `{"db":{"password":"` + word + `"}}`, secret: word, mediaType: "application/json"},
		{name: "JSON member that is only pass", document: `{"user":"shop","pass":"` + word + `"}`, secret: word, mediaType: "application/json"},
		{name: "JSON in JSON", document: `{"msg":` + quoted(`{"clientSecret":"`+word+`"}`) + `}`, secret: word, mediaType: "application/json"},
		{name: "YAML value", document: "db:\n  password: " + word + " # Bob's", secret: word, mediaType: "application/yaml"},
		{name: "YAML block", document: "tls:\n  secret: |\n    " + word + "\n    two\n", secret: word, mediaType: "application/yaml"},
		{name: "YAML key that is only pass", document: "smtp:\n  pass: " + word + "\n", secret: word, mediaType: "application/yaml"},
		{name: "XML element", document: "<db><Password>" + word + "</Password></db>", secret: word},
		{name: "XML attribute", document: `<add name="db" password="` + word + `"/>`, secret: word},
		{name: "Kubernetes environment", document: "env:\n- name: DB_PASSWORD\n  value: " + word, secret: word, mediaType: "application/yaml"},
		{name: "Kubernetes Secret in JSON", document: secret, secret: b64("shop-admin-user"), mediaType: "application/json"},
		{name: "Kubernetes Secret in a list", document: `{"kind":"List","items":[` + secret + `]}`, secret: b64("shop-admin-user"), mediaType: "application/json"},
		{name: "Kubernetes Secret in an annotation", document: `{"metadata":{"annotations":{"last-applied":` + quoted(secret) + `}}}`, secret: b64("shop-admin-user"), mediaType: "application/json"},
		{name: "Kubernetes Secret in YAML", document: "apiVersion: v1\nkind: Secret\ndata:\n  username: " + b64("shop-admin-user") + "\n", secret: b64("shop-admin-user"), mediaType: "application/yaml"},
		{name: "Kubernetes Secret with string data", document: "kind: Secret\nstringData:\n  config.ini: |\n    user = " + word + "\n    x = 1\nmetadata: {name: a}\n", secret: word, mediaType: "application/yaml"},
		{name: "Kubernetes Secret below its data", document: "- data:\n    username: " + b64("shop-admin-user") + "\n  kind: Secret\n", secret: b64("shop-admin-user"), mediaType: "application/yaml"},
		{name: "Docker configuration", document: `{"auths":{"registry.example":{"auth":"` + b64("shop:hunter22") + `"}}}`, secret: b64("shop:hunter22"), mediaType: "application/json"},
		{name: "SQL", document: "ALTER ROLE shop PASSWORD '" + word + "'", secret: word},
		{name: "SQL of MySQL", document: "CREATE USER shop IDENTIFIED BY '" + word + "'", secret: word},
		{name: "SCRAM verifier", document: "rolpassword SCRAM-SHA-256$4096:" + b64("0123456789abcdef") + "$" + b64("stored-key-stored-key-stored-key") + ":" + b64("server-key-server-key-server-key"), secret: b64("stored-key-stored-key-stored-key")},
		{name: "bcrypt hash", document: "hash $2b$12$" + strings.Repeat("abcdEFGH./", 5) + "xyz", secret: strings.Repeat("abcdEFGH./", 5)},
		{name: "argon2 hash", document: "hash $argon2id$v=19$m=65536,t=3,p=4$" + strings.Repeat("c2FsdA", 3) + "$" + strings.Repeat("aGFzaA", 5), secret: strings.Repeat("aGFzaA", 5)},
		{name: "crypt hash", document: "root:$6$" + "rounds=5000$saltsalt$" + strings.Repeat("Ab./", 12) + ":19000:0", secret: strings.Repeat("Ab./", 12)},
		{name: "Hugging Face token", document: "hf_" + strings.Repeat("aBcD", 9), secret: strings.Repeat("aBcD", 9)},
		{name: "Shopify token", document: "shpat_" + strings.Repeat("0a1b", 8), secret: strings.Repeat("0a1b", 8)},
		{name: "Databricks token", document: "dapi" + strings.Repeat("0c1d", 8), secret: strings.Repeat("0c1d", 8)},
		{name: "curl user", document: "curl -u shop:" + word + " https://shop", secret: word},
		{name: "netrc", document: "machine git login shop password " + word, secret: word},
		{name: "random value under a vague name", document: "signing: key=" + awsSecret, secret: awsSecret},
		{name: "prose", document: "the password is hunter2hunter2.", secret: "hunter2hunter2"},
		{name: "Go struct", document: "config {User:shop Password:" + word + " Port:1}", secret: word},
		{name: "TOML", document: "[db]\napi_key = \"" + word + "\"\n", secret: word},
		{name: "Java properties", document: "spring.datasource.password=" + word + "\n", secret: word},
		{name: "Terraform", document: "  master_password = \"" + word + "\"\n", secret: word},
		{name: "PHP array", document: "'db_password' => '" + word + "',", secret: word},
		{name: "Helm set", document: "helm upgrade shop . --set db.password=" + word + ",replicas=2", secret: word},
	}
}

// TestCanaries plants secrets of more than fifty shapes, and none of them survives: not
// as it is, and not in the spellings that text takes on its way.
func TestCanaries(t *testing.T) {
	t.Parallel()
	planted := canaries()
	require.GreaterOrEqual(t, len(planted), 50)
	names := map[string]bool{}
	for _, c := range planted {
		require.False(t, names[c.name], c.name)
		names[c.name] = true
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			require.Contains(t, c.document, c.secret, "the canary is not planted")
			out, n := redact.Document([]byte(c.document), c.mediaType)
			require.Positive(t, n)
			for _, spelling := range []string{c.secret, b64(c.secret), hex.EncodeToString([]byte(c.secret)), url.QueryEscape(c.secret)} {
				require.NotContains(t, string(out), spelling)
			}
			again, n := redact.Document(out, c.mediaType)
			require.Equal(t, string(out), string(again), "redacting twice is redacting once")
			require.Zero(t, n)
			if c.mediaType == "application/json" {
				require.True(t, json.Valid(out), string(out))
			}
		})
	}
}

// TestCanariesTogether plants all of them in one log, so that none hides another.
func TestCanariesTogether(t *testing.T) {
	t.Parallel()
	var log strings.Builder
	for i, c := range canaries() {
		fmt.Fprintf(&log, "2026-03-01T12:00:%02dZ INFO canary %d\n%s\n\n", i%60, i, c.document)
	}
	out, _ := redact.Document([]byte(log.String()), "text/plain")
	for i, c := range canaries() {
		require.NotContains(t, string(out), c.secret, c.name)
		require.Contains(t, string(out), fmt.Sprintf("INFO canary %d\n", i), "a line of the log is gone")
	}
}
