package redacttest

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
)

// What secrets look like. Nothing here is a credential: every value is made up, and
// joined at run time so that scanners of repositories stay quiet.
var (
	AWSKey        = "AKIA" + "IOSFODNN7EXAMPLE"
	AWSSecret     = "wJalrXUtnFEMI/K7MDENG/" + "bPxRfiCYEXAMPLEKEY"
	GitHubToken   = "ghp_" + strings.Repeat("a1B2", 9)
	JWT           = "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0NTY3ODkwIn0." + "dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
	SlackBotToken = "xoxb-" + "123456789012-abcdefABCDEF"
	WebhookPath   = "T00000000/B00000000/" + "XXXXXXXXXXXXXXXXXXXXXXXX"
	PEMBody       = "MIIEowIBAAKCAQEAvX\nq7Zk9\n"
)

// PEM is a block of a kind, such as "RSA PRIVATE KEY".
func PEM(kind, body string) string {
	return "-----BEGIN " + kind + "-----\n" + body + "-----END " + kind + "-----"
}

// Canary is a secret that is planted in a document.
type Canary struct {
	// Name says what shape it has.
	Name string
	// Document holds Secret, which must not survive.
	Document, Secret string
	// MediaType is that of the document, which is text when it is empty.
	MediaType string
}

// b64 is text as a Kubernetes Secret holds it.
func b64(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }

// quoted is a document as a string in another one.
func quoted(document string) string {
	out, _ := json.Marshal(document) // A string can always be encoded.
	return string(out)
}

// Canaries are secrets of different shapes in the documents that collectors capture.
// No two have the same shape: the spelling, or the place in which they stand.
func Canaries() []Canary {
	word := "correct-horse-battery"
	secret := `{"apiVersion":"v1","data":{"username":"` + b64("shop-admin-user") + `","tls.crt":"eA=="},"kind":"Secret"}`
	var seed strings.Builder
	for seed.Len() < 56 {
		seed.WriteString("ABCDEFG2")
	}
	return append(Encoded(), []Canary{
		{Name: "AWS access key in a log line", Document: "using " + AWSKey + " now", Secret: AWSKey},
		{Name: "AWS temporary access key", Document: "id=" + "ASIA" + "IOSFODNN7EXAMPLE", Secret: "ASIA" + "IOSFODNN7EXAMPLE"},
		{Name: "AWS secret key in a profile", Document: "[default]\naws_secret_access_key = " + AWSSecret, Secret: AWSSecret},
		{Name: "AWS session token in the environment", Document: "AWS_SESSION_TOKEN=IQoJb3JpZ2luX2VjEXAMPLE", Secret: "IQoJb3JpZ2luX2VjEXAMPLE"},
		{Name: "GitHub classic token", Document: "git clone https://x-access-token:" + GitHubToken + "@github.com/a/b", Secret: GitHubToken},
		{Name: "GitHub fine-grained token", Document: "token github_pat_" + strings.Repeat("A1b2c3", 10), Secret: strings.Repeat("A1b2c3", 10)},
		{Name: "GitHub app token", Document: "auth ghs_" + strings.Repeat("Zy9x", 9), Secret: strings.Repeat("Zy9x", 9)},
		{Name: "GitLab token", Document: "PRIVATE-TOKEN: glpat-" + "abcdefghij0123456789", Secret: "abcdefghij0123456789"},
		{Name: "Slack bot token", Document: "client " + SlackBotToken, Secret: SlackBotToken},
		{Name: "Slack app token", Document: "xapp-1-" + "A0123456789-1234-abcdef", Secret: "A0123456789-1234-abcdef"},
		{Name: "Slack webhook", Document: "POST https://hooks.slack.com/services/" + WebhookPath, Secret: WebhookPath},
		{Name: "Stripe secret key", Document: "stripe sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc", Secret: "4eC39HqLyjWDarjtT1zdp7dc"},
		{Name: "Stripe restricted key", Document: "stripe rk_live_" + "9aD39HqLyjWDarjtT1zdp7dc", Secret: "9aD39HqLyjWDarjtT1zdp7dc"},
		{Name: "Stripe webhook secret", Document: "whsec_" + "5fD39HqLyjWDarjtT1zdp7dc", Secret: "5fD39HqLyjWDarjtT1zdp7dc"},
		{Name: "npm token in .npmrc", Document: "//registry.npmjs.org/:_authToken=npm_" + strings.Repeat("aB3d", 9), Secret: strings.Repeat("aB3d", 9)},
		{Name: "PyPI token", Document: "pypi-" + strings.Repeat("AgEIcHlwaS5vcmc", 5), Secret: strings.Repeat("AgEIcHlwaS5vcmc", 5)},
		{Name: "Google API key", Document: "AIza" + strings.Repeat("SyD-9", 7), Secret: strings.Repeat("SyD-9", 7)},
		{Name: "Google OAuth token", Document: "ya29." + strings.Repeat("a0AfH", 6), Secret: strings.Repeat("a0AfH", 6)},
		{Name: "PagerDuty token", Document: "Authorization: Token token=y_NBAkKc66ryYTWUXYEu", Secret: "y_NBAkKc66ryYTWUXYEu"},
		{Name: "Vault token", Document: "VAULT said hvs." + strings.Repeat("CAESI", 6), Secret: strings.Repeat("CAESI", 6)},
		{Name: "SendGrid key", Document: "SG." + strings.Repeat("a1b2", 5) + "." + strings.Repeat("c3d4", 8), Secret: strings.Repeat("c3d4", 8)},
		{Name: "NATS seed", Document: "seed SU" + seed.String(), Secret: seed.String()},
		{Name: "Docker Hub token", Document: "login dckr_pat_" + strings.Repeat("aB-9", 7), Secret: strings.Repeat("aB-9", 7)},
		{Name: "Telegram bot token", Document: "https://api.telegram.org/bot123456789:" + "AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw/sendMessage", Secret: "AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"},
		{Name: "Discord webhook", Document: "https://discord.com/api/webhooks/123456789012345678/" + strings.Repeat("aBcD-9_e", 8), Secret: strings.Repeat("aBcD-9_e", 8)},
		{Name: "Sentry DSN", Document: "dsn https://" + strings.Repeat("0a1b", 8) + "@o1.ingest.sentry.io/2", Secret: strings.Repeat("0a1b", 8)},
		{Name: "age key", Document: "AGE-SECRET-KEY-1" + strings.Repeat("QPZRY9X8GF", 5) + "2TVDW0S3", Secret: strings.Repeat("QPZRY9X8GF", 5)},
		{Name: "JWT in a query", Document: "GET /ws?jwt=" + JWT, Secret: strings.Split(JWT, ".")[2]},
		{Name: "JWT in a log", Document: "claims of " + JWT + " expired", Secret: strings.Split(JWT, ".")[1]},
		{Name: "private key", Document: PEM("RSA PRIVATE KEY", PEMBody), Secret: "q7Zk9"},
		{Name: "encrypted private key in JSON", Document: `{"pem":` + quoted(PEM("ENCRYPTED PRIVATE KEY", PEMBody)) + `}`, Secret: "q7Zk9", MediaType: "application/json"},
		{Name: "private key in base64", Document: "data " + b64(PEM("EC PRIVATE KEY", PEMBody)), Secret: b64(PEM("EC PRIVATE KEY", PEMBody))[20:]},
		{Name: "PuTTY private key", Document: "PuTTY-User-Key-File-2: ssh-rsa\nEncryption: none\nPrivate-Lines: 2\nAAAAgQC7Zk9q\nBBBBgQC7Zk9q\nPrivate-MAC: 0123", Secret: "AAAAgQC7Zk9q"},
		{Name: "bearer header in a transcript", Document: "> Authorization: Bearer " + word + ".x1", Secret: word},
		{Name: "basic header", Document: "authorization: Basic " + b64("shop:"+word), Secret: b64("shop:" + word)},
		{Name: "proxy authorization", Document: "Proxy-Authorization: Basic " + b64("proxy:"+word), Secret: b64("proxy:" + word)},
		{Name: "API key header", Document: "X-Api-Key: " + word, Secret: word},
		{Name: "API key header in JSON", Document: `{"headers":{"X-Auth-Token":["` + word + `"]}}`, Secret: word, MediaType: "application/json"},
		{Name: "cookie header", Document: "Cookie: sid=" + word + "; theme=dark", Secret: word},
		{Name: "set-cookie header", Document: "Set-Cookie: sid=" + word + "; Path=/", Secret: word},
		{Name: "URL password", Document: "dial postgres://shop:" + word + "@db:5432/orders", Secret: word},
		{Name: "URL password, percent-encoded", Document: "amqp://shop:" + url.QueryEscape(word+"/!") + "@mq:5672", Secret: word},
		{Name: "MongoDB with several hosts", Document: "mongodb+srv://shop:" + word + "@a.example,b.example/db?w=majority", Secret: word},
		{Name: "ADO connection string", Document: "Server=db;User Id=shop;Pwd=" + word + ";Encrypt=true", Secret: word},
		{Name: "JDBC parameters", Document: "jdbc:postgresql://db/orders?user=shop&password=" + word + "&ssl=true", Secret: word},
		{Name: "libpq words", Document: "host=db user=shop password=" + word + " dbname=orders", Secret: word},
		{Name: "Azure storage", Document: "AccountName=shop;AccountKey=" + AWSSecret + "==;EndpointSuffix=core", Secret: AWSSecret},
		{Name: "Azure SAS", Document: "https://shop.blob.core.windows.net/x?sv=2022&sig=" + url.QueryEscape(AWSSecret), Secret: url.QueryEscape(AWSSecret)},
		{Name: "presigned S3 URL", Document: "https://s3/x?X-Amz-Signature=" + strings.Repeat("0a1b", 16), Secret: strings.Repeat("0a1b", 16)},
		{Name: "environment assignment", Document: "DB_PASSWORD=" + word, Secret: word},
		{Name: "exported assignment in quotes", Document: "export API_TOKEN='" + word + " two'", Secret: word},
		{Name: "env in a process list", Document: "root 1 /bin/app --db-password " + word + " --port 80", Secret: word},
		{Name: "JSON member", Document: `{"db":{"password":"` + word + `"}}`, Secret: word, MediaType: "application/json"},
		{Name: "JSON member that is only pass", Document: `{"user":"shop","pass":"` + word + `"}`, Secret: word, MediaType: "application/json"},
		{Name: "JSON in JSON", Document: `{"msg":` + quoted(`{"clientSecret":"`+word+`"}`) + `}`, Secret: word, MediaType: "application/json"},
		{Name: "YAML value", Document: "db:\n  password: " + word + " # Bob's", Secret: word, MediaType: "application/yaml"},
		{Name: "YAML block", Document: "tls:\n  secret: |\n    " + word + "\n    two\n", Secret: word, MediaType: "application/yaml"},
		{Name: "YAML key that is only pass", Document: "smtp:\n  pass: " + word + "\n", Secret: word, MediaType: "application/yaml"},
		{Name: "XML element", Document: "<db><Password>" + word + "</Password></db>", Secret: word},
		{Name: "XML attribute", Document: `<add name="db" password="` + word + `"/>`, Secret: word},
		{Name: "Kubernetes environment", Document: "env:\n- name: DB_PASSWORD\n  value: " + word, Secret: word, MediaType: "application/yaml"},
		{Name: "Kubernetes Secret in JSON", Document: secret, Secret: b64("shop-admin-user"), MediaType: "application/json"},
		{Name: "Kubernetes Secret in a list", Document: `{"kind":"List","items":[` + secret + `]}`, Secret: b64("shop-admin-user"), MediaType: "application/json"},
		{Name: "Kubernetes Secret in an annotation", Document: `{"metadata":{"annotations":{"last-applied":` + quoted(secret) + `}}}`, Secret: b64("shop-admin-user"), MediaType: "application/json"},
		{Name: "Kubernetes Secret in YAML", Document: "apiVersion: v1\nkind: Secret\ndata:\n  username: " + b64("shop-admin-user") + "\n", Secret: b64("shop-admin-user"), MediaType: "application/yaml"},
		{Name: "Kubernetes Secret with string data", Document: "kind: Secret\nstringData:\n  config.ini: |\n    user = " + word + "\n    x = 1\nmetadata: {Name: a}\n", Secret: word, MediaType: "application/yaml"},
		{Name: "Kubernetes Secret below its data", Document: "- data:\n    username: " + b64("shop-admin-user") + "\n  kind: Secret\n", Secret: b64("shop-admin-user"), MediaType: "application/yaml"},
		{Name: "Docker configuration", Document: `{"auths":{"registry.example":{"auth":"` + b64("shop:hunter22") + `"}}}`, Secret: b64("shop:hunter22"), MediaType: "application/json"},
		{Name: "SQL", Document: "ALTER ROLE shop PASSWORD '" + word + "'", Secret: word},
		{Name: "SQL of MySQL", Document: "CREATE USER shop IDENTIFIED BY '" + word + "'", Secret: word},
		{Name: "SCRAM verifier", Document: "rolpassword SCRAM-SHA-256$4096:" + b64("0123456789abcdef") + "$" + b64("stored-key-stored-key-stored-key") + ":" + b64("server-key-server-key-server-key"), Secret: b64("stored-key-stored-key-stored-key")},
		{Name: "bcrypt hash", Document: "hash $2b$12$" + strings.Repeat("abcdEFGH./", 5) + "xyz", Secret: strings.Repeat("abcdEFGH./", 5)},
		{Name: "argon2 hash", Document: "hash $argon2id$v=19$m=65536,t=3,p=4$" + strings.Repeat("c2FsdA", 3) + "$" + strings.Repeat("aGFzaA", 5), Secret: strings.Repeat("aGFzaA", 5)},
		{Name: "crypt hash", Document: "root:$6$" + "rounds=5000$saltsalt$" + strings.Repeat("Ab./", 12) + ":19000:0", Secret: strings.Repeat("Ab./", 12)},
		{Name: "Hugging Face token", Document: "hf_" + strings.Repeat("aBcD", 9), Secret: strings.Repeat("aBcD", 9)},
		{Name: "Shopify token", Document: "shpat_" + strings.Repeat("0a1b", 8), Secret: strings.Repeat("0a1b", 8)},
		{Name: "Databricks token", Document: "dapi" + strings.Repeat("0c1d", 8), Secret: strings.Repeat("0c1d", 8)},
		{Name: "curl user", Document: "curl -u shop:" + word + " https://shop", Secret: word},
		{Name: "netrc", Document: "machine git login shop password " + word, Secret: word},
		{Name: "random value under a vague name", Document: "signing: key=" + AWSSecret, Secret: AWSSecret},
		{Name: "prose", Document: "the password is hunter2hunter2.", Secret: "hunter2hunter2"},
		{Name: "Go struct", Document: "config {User:shop Password:" + word + " Port:1}", Secret: word},
		{Name: "TOML", Document: "[db]\napi_key = \"" + word + "\"\n", Secret: word},
		{Name: "Java properties", Document: "spring.datasource.password=" + word + "\n", Secret: word},
		{Name: "Terraform", Document: "  master_password = \"" + word + "\"\n", Secret: word},
		{Name: "PHP array", Document: "'db_password' => '" + word + "',", Secret: word},
		{Name: "Helm set", Document: "helm upgrade shop . --set db.password=" + word + ",replicas=2", Secret: word},
	}...)
}
