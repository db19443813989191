package redacttest

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"
)

// logged is text as a container writes it, each line behind a time and a level.
func logged(prefix, text string) string {
	return prefix + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n"+prefix) + "\n"
}

// inGo is text as Go's encoder spells it within JSON.
func inGo(document string) string {
	return `{"body":` + quoted(document) + `}`
}

// coloured is a pair as a logger writes it to a terminal.
func coloured(name, value string) string { return "\x1b[36m" + name + "\x1b[0m=" + value }

// Encoded are secrets in spellings that are not those of the documents they were
// written for: encoded once more, printed by a debugger, split by a logger, or with
// their name elsewhere.
func Encoded() []Canary {
	const word, js = "correct-horse-battery", "application/json"
	rows := `{"query":"who","columns":["id","api_token","note"],"rows":[["1","` + word + `",null],["2",null,"fine"]]}`
	body := strings.Repeat("MIIEowIBAAKCAQEAvXq7Zk9ab3dEfGh1JkLmN0pQrStUvWxYz2A4B6C8D0eFgHiJ\n", 3)
	return []Canary{
		{Name: "private key behind times, without its beginning", Document: logged("2026-03-01T12:00:00.123456789Z ", body+"-----END RSA PRIVATE KEY-----\n"), Secret: body[:60]},
		{Name: "private key behind times", Document: logged("2026-03-01T12:00:00.123456789Z stdout F ", PEM("RSA PRIVATE KEY", body)), Secret: body[:60]},
		{Name: "private key behind times, cut off", Document: logged("2026-03-01T12:00:00.123456789Z ", "-----BEGIN RSA PRIVATE KEY-----\n"+body), Secret: body[:60]},
		{Name: "private key behind levels, cut off", Document: logged("[pod/shop] INFO: ", "-----BEGIN EC PRIVATE KEY-----\n"+body), Secret: body[:60]},
		{Name: "private key in lines of JSON, cut off", Document: `{"msg":"-----BEGIN PRIVATE KEY-----"}` + "\n" + `{"msg":"` + body[:64] + `"}` + "\n" + `{"msg":"` + body[65:129] + `"}` + "\n", Secret: body[:60]},
		{Name: "private key in Go syntax", Document: fmt.Sprintf("%#v", PEM("PRIVATE KEY", body)), Secret: body[:60]},
		{Name: "private key with escaped slashes", Document: `"-----BEGIN PRIVATE KEY-----\nAAAA\/q7Zk9\/BBBB\n"`, Secret: `q7Zk9`},
		{Name: "pair in base64", Document: "blob " + b64("user=shop password="+word+" host=db"), Secret: b64("user=shop password=" + word + " host=db")},
		{Name: "JSON in base64", Document: `{"payload":"` + b64(`{"user":"shop","password":"`+word+`"}`) + `"}`, Secret: b64(`{"user":"shop","password":"` + word + `"}`)[8:], MediaType: js},
		{Name: "token in base64", Document: "cfg=" + b64("token: "+GitHubToken+"\n"), Secret: b64("token: " + GitHubToken + "\n")[8:40]},
		{Name: "token in base64 for URLs", Document: "cfg=" + base64.RawURLEncoding.EncodeToString([]byte("~~?token="+GitHubToken)), Secret: base64.RawURLEncoding.EncodeToString([]byte("~~?token=" + GitHubToken))[8:40]},
		{Name: "base64 in base64", Document: "x " + b64("cfg "+b64("password="+word)), Secret: b64("cfg " + b64("password="+word))[4:]},
		{Name: "pair in a URL, encoded", Document: "GET /go?to=" + url.QueryEscape("https://shop/x?token="+word+"&page=2") + " 302", Secret: word},
		{Name: "JSON in a URL, encoded", Document: "GET /q?filter=" + url.QueryEscape(`{"password":"`+word+`","n":1}`), Secret: word},
		{Name: "URL with a password, encoded", Document: "dsn=" + url.QueryEscape("postgres://shop:"+word+"@db:5432/orders"), Secret: word},
		{Name: "URL parameters as Go spells &", Document: inGo("https://shop/x?page=1&token=" + word + "&n=2"), Secret: word, MediaType: js},
		{Name: "XML as Go spells <", Document: inGo("<db><Password>" + word + "</Password></db>"), Secret: word, MediaType: js},
		{Name: "XML attributes of a setting", Document: `<add key="DbPassword" value="` + word + `"/>`, Secret: word},
		{Name: "XML attributes of a setting as Go spells them", Document: inGo(`<add key="DbPassword" value="` + word + `"/>`), Secret: word, MediaType: js},
		{Name: "hidden field of a form", Document: `<input type="hidden" name="csrf_token" value="` + word + `">`, Secret: word},
		{Name: "header in Go syntax", Document: fmt.Sprintf("%#v", map[string][]string{"Authorization": {"Basic " + b64("shop:"+word)}}), Secret: b64("shop:" + word)},
		{Name: "header as Go prints it", Document: fmt.Sprintf("%+v", struct{ Header map[string][]string }{map[string][]string{"Authorization": {"Basic " + b64("shop:"+word)}}}), Secret: b64("shop:" + word)},
		{Name: "bearer header in Go syntax", Document: fmt.Sprintf("%#v", map[string][]string{"Authorization": {"Bearer " + word}}), Secret: word},
		{Name: "API key header in Go syntax", Document: fmt.Sprintf("%#v", map[string][]string{"X-Api-Key": {word}}), Secret: word},
		{Name: "bytes in Go syntax", Document: fmt.Sprintf("%#v", struct{ Password []byte }{[]byte("hunter2")}), Secret: "0x68, 0x75, 0x6e, 0x74"},
		{Name: "bytes as Go prints them", Document: fmt.Sprintf("%+v", struct{ Password []byte }{[]byte("hunter2")}), Secret: "104 117 110 116"},
		{Name: "Secret in Go syntax", Document: `&v1.Secret{ObjectMeta:v1.ObjectMeta{Name:"db"}, Data:map[string][]uint8{"username":[]uint8{0x73, 0x68, 0x6f, 0x70}}, Type:"Opaque"}`, Secret: "0x73, 0x68, 0x6f"},
		{Name: "Secret as Go prints it", Document: "&Secret{ObjectMeta:{db  default}, Data:map[string][]byte{username: [115 104 111 112],},Type:Opaque,}", Secret: "115 104 111"},
		{Name: "header in Ruby", Document: `{"Authorization"=>"Basic ` + b64("shop:"+word) + `", "Accept"=>"*/*"}`, Secret: b64("shop:" + word)},
		{Name: "password in Ruby", Document: `{:password=>"` + word + `", :port=>1}`, Secret: word},
		{Name: "header in Python bytes", Document: `{b'Authorization': b'Basic ` + b64("shop:"+word) + `'}`, Secret: b64("shop:" + word)},
		{Name: "password in Python bytes", Document: `{'password': b'` + word + `', 'port': 1}`, Secret: word},
		{Name: "password in old Python", Document: `{u'password': u'` + word + `'}`, Secret: word},
		{Name: "header of a proxy", Document: "':authority', 'shop'\n'authorization', 'Basic " + b64("shop:"+word) + "'", Secret: b64("shop:" + word)},
		{Name: "basic credentials in prose", Document: "sent Basic " + b64("shop:"+word) + " and got 401", Secret: b64("shop:" + word)},
		{Name: "coloured pair", Document: "\x1b[31mERRO\x1b[0m[0001] login failed " + coloured("password", word) + " " + coloured("user", "shop"), Secret: word},
		{Name: "coloured pair in JSON", Document: `{"log":"\u001b[36mapi_key\u001b[0m=` + word + ` done"}`, Secret: word, MediaType: js},
		{Name: "coloured value", Document: "password=\x1b[33m" + word + "\x1b[0m user=shop", Secret: word},
		{Name: "entry of a list by key", Document: `{"tags":[{"Key":"DB_PASSWORD","Value":"` + word + `"}]}`, Secret: word, MediaType: js},
		{Name: "attribute of a trace", Document: `{"attributes":[{"key":"db.password","value":{"stringValue":"` + word + `"}}]}`, Secret: word, MediaType: js},
		{Name: "entry of a list, value first", Document: `{"env":[{"value":"` + word + `","name":"DB_PASSWORD"}]}`, Secret: word, MediaType: js},
		{Name: "column of a table", Document: rows, Secret: word, MediaType: js},
		{Name: "mysql", Document: "CMD mysql -h db -u root -p" + word + " orders", Secret: word},
		{Name: "redis-cli", Document: "CMD redis-cli -h cache -a " + word + " PING", Secret: word},
		{Name: "sshpass", Document: "CMD sshpass -p " + word + " ssh shop", Secret: word},
		{Name: "docker login", Document: "CMD docker login -u shop -p " + word + " registry", Secret: word},
		{Name: "flag with one dash", Document: "CMD app -password " + word + " -port 80", Secret: word},
		{Name: "JDBC of Oracle", Document: "jdbc:oracle:thin:shop/" + word + "@db:1521/ORCL", Secret: word},
		{Name: "parameter with a semicolon before", Document: "jdbc:sqlserver://db;user=shop;password={" + word + "};encrypt=true", Secret: word},
		{Name: "JWT behind an escaped dot", Document: "x=" + strings.ReplaceAll(JWT, ".", "%2E"), Secret: strings.Split(JWT, ".")[2]},
		{Name: "password hidden by HTML", Document: "{&quot;password&quot;:&quot;" + word + "&quot;}", Secret: word},
	}
}
