package redact_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/workflows/activities/redact"
	"github.com/backout/backout/workflows/activities/redact/redacttest"
)

func TestRedact(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, in, want string
	}{
		// Spellings.
		{"AWS access key", "using " + redacttest.AWSKey + " in eu-central-1", "using [redacted:aws_access_key] in eu-central-1"},
		{"GitHub token", "fetch with " + redacttest.GitHubToken, "fetch with [redacted:github_token]"},
		{"GitHub fine-grained token", "github_pat_" + strings.Repeat("A1b2c3", 10), "[redacted:github_token]"},
		{"GitLab token", "glpat-" + "abcdefghij0123456789", "[redacted:gitlab_token]"},
		{"Slack bot token", "client " + redacttest.SlackBotToken + " said", "client [redacted:slack_token] said"},
		{"Slack app token", "xapp-1-" + "A0123456789-1234-abcdef", "[redacted:slack_token]"},
		{"Slack webhook", "POST https://hooks.slack.com/services/" + redacttest.WebhookPath + " 200", "POST https://hooks.slack.com/services/[redacted:slack_webhook] 200"},
		{"Stripe key", "sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc", "[redacted:stripe_key]"},
		{"Stripe webhook secret", "whsec_" + "4eC39HqLyjWDarjtT1zdp7dc", "[redacted:webhook_secret]"},
		{"npm token", "npm_" + strings.Repeat("aB3d", 9), "[redacted:npm_token]"},
		{"Google API key", "AIza" + strings.Repeat("SyD-9", 7), "[redacted:google_api_key]"},
		{"Google token", "ya29." + strings.Repeat("a0AfH", 6), "[redacted:google_token]"},
		{"PagerDuty user token", "u+" + "abcdefABCDEF012345", "[redacted:pagerduty_token]"},
		{"Vault token", "hvs." + strings.Repeat("CAESI", 6), "[redacted:vault_token]"},
		{"SendGrid key", "SG." + strings.Repeat("a1b2", 5) + "." + strings.Repeat("c3d4", 8), "[redacted:sendgrid_key]"},
		{"NATS seed", "SU" + strings.Repeat("ABCDEFG2", 7), "[redacted:nats_seed]"},
		{"JWT", "sid " + redacttest.JWT + ";", "sid [redacted:jwt];"},
		{"private key", redacttest.PEM("RSA PRIVATE KEY", redacttest.PEMBody), "-----BEGIN RSA PRIVATE KEY-----[redacted:private_key]-----END RSA PRIVATE KEY-----"},
		{"OpenSSH private key", redacttest.PEM("OPENSSH PRIVATE KEY", redacttest.PEMBody), "-----BEGIN OPENSSH PRIVATE KEY-----[redacted:private_key]-----END OPENSSH PRIVATE KEY-----"},
		{"private key in JSON", `{"pem":"` + strings.ReplaceAll(redacttest.PEM("PRIVATE KEY", redacttest.PEMBody), "\n", `\n`) + `"}`, `{"pem":"-----BEGIN PRIVATE KEY-----[redacted:private_key]-----END PRIVATE KEY-----"}`},
		{"private key cut off", "-----BEGIN EC PRIVATE KEY-----\n" + redacttest.PEMBody, "-----BEGIN EC PRIVATE KEY-----[redacted:private_key]"},
		{"private key in base64", "x LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBLRVktLS0tLQpNSUlF y", "x [redacted:private_key] y"},

		// Places.
		{"authorization header", "> Authorization: Bearer abc.def\n> Accept: */*", "> Authorization: Bearer [redacted:authorization]\n> Accept: */*"},
		{"basic authorization", "authorization: Basic dXNlcjpwYXNz", "authorization: Basic [redacted:authorization]"},
		{"PagerDuty authorization", "Authorization: Token token=y_NBAkKc66ryYTWUXYEu", "Authorization: Token [redacted:authorization]"},
		{"authorization in JSON", `{"Authorization":"Bearer abc","Accept":"x"}`, `{"Authorization":"Bearer [redacted:authorization]","Accept":"x"}`},
		{"authorization in a list", `{"Authorization":["Bearer abc"],"Accept":["x"]}`, `{"Authorization":["Bearer [redacted:authorization]"],"Accept":["x"]}`},
		{"authorization in JSON in JSON", `{"log":"{\"Authorization\":\"Bearer abc\",\"n\":1}"}`, `{"log":"{\"Authorization\":\"Bearer [redacted:authorization]\",\"n\":1}"}`},
		{"authorization in curl", `curl -H "Authorization: Bearer abc" https://shop`, `curl -H "Authorization: Bearer [redacted:authorization]" https://shop`},
		{"bare authorization", "Authorization: 0123456789abcdef", "Authorization: [redacted:authorization]"},
		{"bearer in prose", "sent bearer abc123def456ghi to it", "sent bearer [redacted:bearer_token] to it"},
		{"cookies", "Cookie: session=abc; theme=dark\nHost: shop", "Cookie: [redacted:cookies]\nHost: shop"},
		{"set-cookie", "Set-Cookie: session=abc; Path=/; HttpOnly", "Set-Cookie: session=[redacted:cookie]; Path=/; HttpOnly"},
		{"URL password", "dial postgres://shop:hunter2@db:5432/orders?sslmode=require", "dial postgres://shop:[redacted:url_password]@db:5432/orders?sslmode=require"},
		{"URL password with an at sign", "redis://:p@ss@cache:6379/0", "redis://:[redacted:url_password]@cache:6379/0"},
		{"URL user that is a token", "https://abcdef0123456789abcdef@git.example/x", "https://[redacted:url_user]@git.example/x"},
		{"URL parameters", "GET /hook?token=abc&page=2&sig=def HTTP/1.1", "GET /hook?token=[redacted:url_parameter]&page=2&sig=[redacted:url_parameter] HTTP/1.1"},
		{"presigned URL", "https://s3/x?X-Amz-Expires=60&X-Amz-Signature=0123abcd", "https://s3/x?X-Amz-Expires=60&X-Amz-Signature=[redacted:url_parameter]"},
		{"XML", "<db><user>shop</user><Password>hunter2</Password></db>", "<db><user>shop</user><Password>[redacted:password]</Password></db>"},
		{"SQL", "ALTER ROLE shop PASSWORD 'hunter2' VALID UNTIL 'infinity'", "ALTER ROLE shop PASSWORD '[redacted:password]' VALID UNTIL 'infinity'"},
		{"curl user", "curl -s -u shop:hunter2 https://shop", "curl -s -u shop:[redacted:password] https://shop"},
		{"netrc", "machine git login shop password hunter2", "machine git login shop password [redacted:password]"},

		// Names.
		{"variable", "DB_PASSWORD=hunter2", "DB_PASSWORD=[redacted:password/7]"},
		{"exported variable", "export API_TOKEN='abc def'\nPORT=80", "export API_TOKEN='[redacted:token/7]'\nPORT=80"},
		{"variable with separators in it", "DB_PASS=a;b&c,d\nPORT=80", "DB_PASS=[redacted:pass/7]\nPORT=80"},
		{"variables on one line", "DB_PASSWORD=a,b PORT=80 ./run", "DB_PASSWORD=[redacted:password/3] PORT=80 ./run"},
		{"AWS secret key", "aws_secret_access_key = " + redacttest.AWSSecret, "aws_secret_access_key = [redacted:access_key/40]"},
		{"JSON", `{"user":"shop","password":"hun\"ter2","port":5432}`, `{"user":"shop","password":"[redacted:password/9]","port":5432}`},
		{"JSON with a backslash at the end", `{"password":"a\\","port":5432}`, `{"password":"[redacted:password/3]","port":5432}`},
		{"JSON number", `{"password":12345,"port":5432}`, `{"password":[redacted:password/5],"port":5432}`},
		{"JSON list", `{"passwords_old":1,"password":["a1","b2"],"port":1}`, `{"passwords_old":1,"password":["[redacted:password/2]","[redacted:password/2]"],"port":1}`},
		{"JSON camel case", `{"clientSecret": "abc", "apiKey": "def"}`, `{"clientSecret": "[redacted:secret/3]", "apiKey": "[redacted:apikey/3]"}`},
		{"JSON in JSON", `{"msg":"{\"password\":\"hunter2\",\"port\":1}"}`, `{"msg":"{\"password\":\"[redacted:password/7]\",\"port\":1}"}`},
		{"JSON over lines", "{\n  \"password\": \"hunter2\",\n  \"port\": 1\n}", "{\n  \"password\": \"[redacted:password/7]\",\n  \"port\": 1\n}"},
		{"YAML", "db:\n  password: correct horse # from Bob\n  port: 1", "db:\n  password: [redacted:password/13] # from Bob\n  port: 1"},
		{"YAML block", "tls:\n  secret: |\n    line one\n\n    line two\n  port: 1\n", "tls:\n  secret: |\n    [redacted:secret/22]\n  port: 1\n"},
		{"YAML flow", "db: {password: hunter2, port: 1}", "db: {password: [redacted:password/7], port: 1}"},
		{"YAML flow list", "passwords: 2\npassword: [a1, b2]\nport: 1", "passwords: 2\npassword: [[redacted:password/2], [redacted:password/2]]\nport: 1"},
		{"YAML list", "- token: abc\n- port: 1", "- token: [redacted:token/3]\n- port: 1"},
		{"TOML", `api_key = "abc"`, `api_key = "[redacted:api_key/3]"`},
		{"INI with spaces", "[db]\npassword = hunter2\nport = 1", "[db]\npassword = [redacted:password/7]\nport = 1"},
		{"connection string", "Server=db;User Id=shop;Password=hunter2;Encrypt=true", "Server=db;User Id=shop;Password=[redacted:password/7];Encrypt=true"},
		{"Azure storage", "AccountName=shop;AccountKey=" + redacttest.AWSSecret + "==;EndpointSuffix=core", "AccountName=shop;AccountKey=[redacted:accountkey/42];EndpointSuffix=core"},
		{"libpq", "host=db user=shop password=hunter2 dbname=orders", "host=db user=shop password=[redacted:password/7] dbname=orders"},
		{"logfmt", `level=info token="a b" user=bob`, `level=info token="[redacted:token/3]" user=bob`},
		{"pairs with commas", "connect user=shop,password=a,b,port=1", "connect user=shop,password=[redacted:password/3],port=1"},
		{"Go struct", "config {User:shop Password:hunter2 Port:1}", "config {User:shop Password:[redacted:password/7] Port:1}"},
		{"Kubernetes environment in YAML", "env:\n- name: DB_PASSWORD\n  value: hunter2\n- name: PORT\n  value: \"80\"", "env:\n- name: DB_PASSWORD\n  value: [redacted:password/7]\n- name: PORT\n  value: \"80\""},
		{"Kubernetes environment in JSON", `{"env":[{"name":"DB_PASSWORD","value":"hunter2"},{"name":"PORT","value":"80"}]}`, `{"env":[{"name":"DB_PASSWORD","value":"[redacted:password/7]"},{"name":"PORT","value":"80"}]}`},
		{"Kubernetes environment in Go", "{Name:DB_PASSWORD Value:hunter2 ValueFrom:nil}", "{Name:DB_PASSWORD Value:[redacted:password/7] ValueFrom:nil}"},
		{"kubectl describe", "    Environment:\n      DB_PASSWORD:  hunter2\n      PORT:         80", "    Environment:\n      DB_PASSWORD:  [redacted:password/7]\n      PORT:         80"},
		{"flag", "run --db-password hunter2 --port 80", "run --db-password [redacted:password/7] --port 80"},
		{"flag with equals", "run --token=abc --port=80", "run --token=[redacted:token/3] --port=80"},
		{"flag in a list", `["--token","abc","--port","80"]`, `["--token","[redacted:token/3]","--port","80"]`},
		{"kubeconfig", "users:\n- user:\n    client-key-data: QUJDREVG\n", "users:\n- user:\n    client-key-data: [redacted:key_data/8]\n"},
		{"string that is not closed", `{"password":"hunter2`, `{"password":"[redacted:password/7]`},
		{"random value under a vague name", "signing: key=" + redacttest.AWSSecret, "signing: key=[redacted:key/40]"},
		{"secret inside of a secret", "password=postgres://a:" + redacttest.GitHubToken + "@db", "password=[redacted:password/39]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			in := []byte(tt.in)
			out, n := redact.Redact(in)
			require.Equal(t, tt.want, string(out))
			require.Positive(t, n)
			require.Equal(t, tt.in, string(in), "the input is not modified")
			again, n := redact.Redact(out)
			require.Equal(t, tt.want, string(again), "redacting twice is redacting once")
			require.Zero(t, n)
		})
	}
}

func TestRedactLeavesWhatExplains(t *testing.T) {
	t.Parallel()
	const sha = "3f786850e387550fdab836ed7e6dc881de23001b"
	const sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for _, tt := range []struct{ name, in string }{
		{"empty", ""},
		{"commit", "commit " + sha},
		{"commit under a vague name", "cache_key=" + sha},
		{"digest under a vague name", `{"key":"` + sha256 + `"}`},
		{"UUID", "request_id=123e4567-e89b-12d3-a456-426614174000"},
		{"UUID under a vague name", "key: 123e4567-e89b-12d3-a456-426614174000"},
		{"image", "image: registry.example/shop/checkout@sha256:" + sha256},
		{"trace", "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
		{"trace ID", "trace_id=4bf92f3577b34da6a3ce929d0e0e4736 span_id=00f067aa0ba902b7"},
		{"checksum annotation", "checksum/config: " + sha256},
		{"ETag", `ETag: "33a64df551425fcc55e4d42a148795d9f25f89d4"`},
		{"pod", "pod checkout-7d9f8c6b5d-x2x4q on node ip-10-0-0-7"},
		{"resource version", `"resourceVersion":"123456789","uid":"0b5d1c3e-1111-2222-3333-444455556666"`},
		{"certificate", redacttest.PEM("CERTIFICATE", redacttest.PEMBody)},
		{"public key", redacttest.PEM("PUBLIC KEY", redacttest.PEMBody)},
		{"SSH public key", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGZ1 shop@example"},
		{"empty password", `{"password":"","token":null}`},
		{"empty variable", "DB_PASSWORD=\nPORT=80"},
		{"YAML parent", "secret:\n  name: db\n  optional: true"},
		{"JSON parent", `{"secret":{"secretName":"db-credentials","optional":true}}`},
		{"reference to a variable", "password: ${DB_PASSWORD}\ntoken: $(TOKEN)\nsecret: $SECRET"},
		{"template", "password: {{ .Values.password }}"},
		{"secret key reference", "valueFrom:\n  secretKeyRef:\n    name: db\n    key: password"},
		{"kubectl describe reference", "      DB_PASSWORD:  <set to the key 'password' in secret 'db'>  Optional: false"},
		{"reference to a secret store", "secret: arn:aws:secretsmanager:eu-central-1:123456789012:secret:db-AbCdEf"},
		{"file names", "password_file: /run/secrets/db\nbearer_token_file=/run/token\nprivate_key: /etc/tls/tls.key"},
		{"counts of passes", "pass: 1234567 fail: 0\nall.pass=100.00%"},
		{"prose about passwords", "the password is required, and the passcode was wrong"},
		{"prices", "costs $1$ or $5$ each"},
		{"counts of tokens", "max_tokens=4096 tokens: 512 token_bucket_size=10"},
		{"cursor", `{"next_page_token":"CAESBgoEb3JkZXI","pageToken":"abc123"}`},
		{"pull secret", "imagePullSecret: regcred"},
		{"booleans", "has_password=true use_token=false"},
		{"masked", "password=**** token=<redacted> secret=[FILTERED]"},
		{"PromQL", `sum(rate(http_requests_total{job="checkout",code=~"5.."}[1m])) / sum(rate(http_requests_total{job="checkout"}[1m]))`},
		{"log line", "2026-03-01T12:00:00Z ERROR checkout: connect to db:5432: FATAL: password authentication failed for user shop"},
		{"stack trace", "goroutine 1 [running]:\nmain.(*Server).authToken(0xc000010000)\n\t/src/shop/auth.go:42 +0x1d"},
		{"URL without a password", "GET https://shop.example:8443/cart?id=7&page=2 by mail@example.com"},
		{"Git remote", "ssh://git@github.com/backout/backout.git git@github.com:backout/backout.git"},
		{"authorization in prose", "authorization: denied for user bob"},
		{"bearer in prose", "bearer authentication required"},
		{"words with a prefix in them", "sk-learn task-runner api-gateway-service ghp_ xoxo"},
		{"object key", `{"key":"orders/2026/03/01/part-0001.json"}`},
		{"text in base64", "eyJ1c2VyIjoic2hvcCIsInBvcnQiOjU0MzJ9 aGVsbG8gZnJvbSB0aGUgc2hvcCwgYWxsIGlzIHdlbGw="},
		{"digest in base64", "integrity sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg=="},
		{"package paths", "github.com/backout/backout/integrations/prometheus/collect.go:42"},
		{"encoded URL without a secret", "GET /go?to=https%3A%2F%2Fshop%2Fx%3Fpage%3D2%26sort%3Dname 302"},
		{"encoded PromQL", "query=sum%28rate%28http_requests_total%7Bcode%3D~%225..%22%7D%5B1m%5D%29%29"},
		{"colours", "\x1b[31mERRO\x1b[0m[0001] retry \x1b[36mattempt\x1b[0m=3 \x1b[36muser\x1b[0m=shop"},
		{"lists in Go", `map[string][]string{"Accept":[]string{"*/*"}, "X-Request-Id":[]string{"4bf92f3577b34da6"}}`},
		{"tags", `{"tags":[{"Key":"team","Value":"payments"},{"key":"service.name","value":{"stringValue":"checkout"}}]}`},
		{"key of a secret", "secretKeyRef:\n  key: password\n  name: db"},
		{"XML of settings", `<add key="Timeout" value="30"/>`},
		{"commands", "mysql -h db -u root orders; redis-cli -h cache PING; docker run -p 8080:80 shop; ssh -p 22 shop"},
		{"prose with dashes", "deploy failed - secret missing, the non-secret value is fine"},
		{"basic in prose", "basic authentication required, basic functionality works"},
		{"public key that is cut off", "2026-03-01 -----BEGIN CERTIFICATE-----\n2026-03-01 " + strings.Repeat("MIIEowIBAAKCAQEAvX", 4)},
		{"events", "Warning  Unhealthy  2m  kubelet  Readiness probe failed: HTTP probe failed with statuscode: 503"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			out, n := redact.Redact([]byte(tt.in))
			require.Equal(t, tt.in, string(out))
			require.Zero(t, n)
		})
	}
}

// TestDocumentLeavesWhatExplains shows that the awareness of Kubernetes Secrets takes
// nothing but their values.
func TestDocumentLeavesWhatExplains(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, mediaType, in string }{
		{"ConfigMap in JSON", "application/json", `{"kind":"ConfigMap","data":{"color":"red","limits":"Secret"}}`},
		{"ConfigMap in YAML", "application/yaml", "kind: ConfigMap\ndata:\n  color: red\n---\nkind: Secret\ntype: Opaque\n"},
		{"reference to a Secret", "application/json", `{"kind":"Pod","spec":{"volumes":[{"secret":{"secretName":"db"}}]},"ref":{"kind":"Secret","name":"db"}}`},
		{"owner that is a Secret in YAML", "application/yaml", "data:\n  color: red\nownerReferences:\n- kind: Secret\n  name: db\n"},
		{"data beside a Secret in a list", "application/yaml", "- kind: Secret\n  type: Opaque\n- kind: ConfigMap\n  data:\n    color: red\n"},
		{"kind that is no text", "application/json", `{"kind":["Secret"],"data":{"color":"red"}}`},
		{"no JSON at all", "application/json", `{"kind":"Secret", and then prose with data`},
		{"deep JSON", "application/json", strings.Repeat("[", 100_000) + `"Secret"`},
		{"table", "application/json", `{"query":"locks","columns":["pid","relation","token_count"],"rows":[["1","shop.orders","12"],["2",null,"7"]]}`},
		{"table with references and nothing", "application/json", `{"columns":["password","token"],"rows":[["",null],["${DB_PASSWORD}","****"]]}`},
		{"no table", "application/json", `{"columns":["password"],"rows":"none"}`},
		{"rows of other things", "application/json", `{"columns":["password"],"rows":[[{"a":1}],[["b"]]]}`},
		{"numbers in JSON", "application/json", `{"kind":"Secretary","data":{"count":1e3,"big":12345678901234567890}}`},
		{"stack trace", "text/plain", "panic: runtime error: index out of range [5] with length 3\n\ngoroutine 1 [running]:\nmain.main()\n\t/src/main.go:42 +0x1d"},
		{"Java stack trace", "text/plain", "java.sql.SQLException: Connection refused\n\tat com.shop.Checkout.pay(Checkout.java:17)\nCaused by: java.net.ConnectException"},
		{"binary", "application/octet-stream", "\x00\xff\xfe{Secret\x00"},
		{"PromQL answer", "application/json", `{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"pod":"checkout-7d9f8c6b5d-x2x4q"},"values":[[1767225600,"0.25"]]}]}}`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			out, n := redact.Document([]byte(tt.in), tt.mediaType)
			require.Equal(t, tt.in, string(out))
			require.Zero(t, n)
		})
	}
}

// TestDocumentKeepsKeysAndLengths shows what is left of a Kubernetes Secret.
func TestDocumentKeepsKeysAndLengths(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, in, want string }{
		{"JSON", `{"kind": "Secret", "data": {"a": "QUJD", "b": ""}, "type": "Opaque"}`, `{"kind": "Secret", "data": {"a": "[redacted:secret_data/4]", "b": ""}, "type": "Opaque"}`},
		{"JSON in a log", `level=debug obj={"data":{"a":"QUJD"},"kind":"Secret"}` + "\n", `level=debug obj={"data":{"a":"[redacted:secret_data/4]"},"kind":"Secret"}` + "\n"},
		{"JSON in JSON", `{"a":"{\"stringData\":{\"x\":\"yy\"},\"kind\":\"Secret\"}"}`, `{"a":"{\"stringData\":{\"x\":\"[redacted:secret_data/2]\"},\"kind\":\"Secret\"}"}`},
		{"column of a table", `{"columns": ["id", "Api_Token"], "rows": [["1", "abc", "x"], [2, 345]], "note": "y"}`, `{"columns": ["id", "Api_Token"], "rows": [["1", "[redacted:token/3]", "x"], [2, "[redacted:token/3]"]], "note": "y"}`},
		{"rows before columns", `{"rows": [["abc"]], "columns": ["password"]}`, `{"rows": [["[redacted:password/3]"]], "columns": ["password"]}`},
		{"YAML", "kind: Secret\ndata:\n  a: QUJD\n  b: \"\"\ntype: Opaque\n", "kind: Secret\ndata:\n  a: \"[redacted:secret_data/4]\"\n  b: \"\"\ntype: Opaque\n"},
		{"YAML block", "data:\n  a: |-\n    QUJD\n    REVG\n  b: eA==\nkind: Secret\n", "data:\n  a: \"[redacted:secret_data/10]\"\n  b: \"[redacted:secret_data/4]\"\nkind: Secret\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			out, n := redact.Document([]byte(tt.in), "text/plain")
			require.Equal(t, tt.want, string(out))
			require.Positive(t, n)
		})
	}
}

func FuzzDocument(f *testing.F) {
	for _, c := range redacttest.Canaries() {
		f.Add([]byte(c.Document), c.MediaType)
	}
	f.Fuzz(func(t *testing.T, in []byte, mediaType string) {
		once, n := redact.Document(in, mediaType)
		if n == 0 {
			require.Equal(t, string(in), string(once))
		}
	})
}

func TestRedactKeepsJSONStrings(t *testing.T) {
	t.Parallel()
	in, err := json.Marshal(map[string]any{
		"headers": map[string]any{"Authorization": []string{"Bearer " + redacttest.JWT}, "Cookie": []string{"a=b; c=d"}},
		"db":      map[string]any{"password": "a\"b\\c", "url": "postgres://u:p@h/d"},
		"log":     `{"token":"x\"y","n":1}`,
		"env":     []map[string]string{{"name": "API_TOKEN", "value": "abc"}},
	})
	require.NoError(t, err)
	out, n := redact.Redact(in)
	require.True(t, json.Valid(out), string(out))
	require.Equal(t, 6, n)
	for _, secret := range []string{redacttest.JWT, "a=b", `a\"b`, ":p@", `x\\\"y`, "abc"} {
		require.NotContains(t, string(out), secret)
	}
}

func TestRedactCounts(t *testing.T) {
	t.Parallel()
	_, n := redact.Redact([]byte("password=a\ntoken=b\n" + redacttest.GitHubToken))
	require.Equal(t, 3, n)
}

func TestRedactBinary(t *testing.T) {
	t.Parallel()
	in := append(bytes.Repeat([]byte{0, 0xff, 0xfe}, 100), []byte("password=hunter2")...)
	out, n := redact.Redact(in)
	require.Equal(t, 1, n)
	require.NotContains(t, string(out), "hunter2")
}

func FuzzRedactTwiceIsOnce(f *testing.F) {
	for _, s := range []string{
		`{"password":"a\\","b":["token","x"]}`, "a: |\n  b", "secret: |\n  x\n y", `token=[redacted:token/3]x`, `\\\"password\\\":\\\"x`,
		"password=a(b[c]d", "Authorization: [Bearer x", `--token","`, "key: " + redacttest.AWSSecret, redacttest.PEM("PRIVATE KEY", redacttest.PEMBody) + "-----BEGIN PRIVATE KEY-----",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		once, _ := redact.Redact(in)
		twice, n := redact.Redact(once)
		require.Equal(t, string(once), string(twice))
		require.Zero(t, n)
	})
}

// BenchmarkRedact goes through a log, and through the same as one line.
func BenchmarkRedact(b *testing.B) {
	line := `{"ts":"2026-03-01T12:00:00Z","msg":"GET https://shop/cart?id=7 200","agent":"curl/8.0","trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","user":"bob","token":"abc","api_key":12}`
	for name, end := range map[string]string{"lines": "\n", "one line": ","} {
		b.Run(name, func(b *testing.B) {
			doc := []byte(strings.Repeat(line+end, 10_000))
			b.SetBytes(int64(len(doc)))
			for b.Loop() {
				redact.Redact(doc)
			}
		})
	}
}
