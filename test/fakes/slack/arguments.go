package fakeslack

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// maxBody is the largest request body that is read, in bytes.
const maxBody = 4 << 20

// argument is one argument as it came: as form text, or as a JSON value.
type argument struct {
	form string
	json json.RawMessage // nil when it came as form text
}

// arguments are the arguments of a call by name. Empty ones count as absent, as
// they do for Slack.
type arguments map[string]argument

// readArguments reads the arguments from the query and the body, and the token
// from the Authorization header or the token argument.
func readArguments(w http.ResponseWriter, r *http.Request) (arguments, string, *refusal) {
	args := arguments{}
	token := ""
	if bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		token = bearer
	}
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		return args, token, refuse("method_not_supported")
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	problem := (*refusal)(nil)
	switch {
	case r.Method == http.MethodPost && kind == "application/json":
		problem = args.readJSON(r)
	case kind == "" || kind == "application/x-www-form-urlencoded":
		if err := r.ParseForm(); err != nil {
			return args, token, refuse("invalid_form_data")
		}
	case kind == "multipart/form-data":
		if err := r.ParseMultipartForm(maxBody); err != nil {
			return args, token, refuse("invalid_form_data")
		}
	default:
		return args, token, refuse("invalid_post_type")
	}
	for name, values := range r.Form {
		if values[0] != "" {
			args[name] = argument{form: values[0]}
		}
	}
	if given, ok := args["token"]; ok {
		delete(args, "token")
		if token == "" {
			token = given.text()
		}
	}
	return args, token, problem
}

func (a arguments) readJSON(r *http.Request) *refusal {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return refuse("request_timeout")
	}
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil {
		return refuse("invalid_json")
	}
	if members == nil && !bytes.Equal(bytes.TrimSpace(body), []byte("null")) {
		return refuse("json_not_object")
	}
	for name, raw := range members {
		if text := string(raw); text != "null" && text != `""` {
			a[name] = argument{json: raw}
		}
	}
	return nil
}

// text returns an argument as text, or nothing if it is absent.
func (a arguments) text(name string) string { return a[name].text() }

// flag returns a boolean argument, or the given value if it is absent.
func (a arguments) flag(name string, absent bool) bool {
	if _, ok := a[name]; !ok {
		return absent
	}
	on, err := strconv.ParseBool(a.text(name))
	return err == nil && on
}

// number returns a numeric argument, or the given value if it is absent.
func (a arguments) number(name string, absent int) int {
	n, err := strconv.Atoi(a.text(name))
	if err != nil {
		return absent
	}
	return n
}

// value returns a structured argument: a JSON value, or form text that holds one.
func (a arguments) value(name string) json.RawMessage {
	arg, ok := a[name]
	if !ok {
		return nil
	}
	return json.RawMessage(arg.structured())
}

func (a argument) text() string {
	if a.json == nil {
		return a.form
	}
	var s string
	if err := json.Unmarshal(a.json, &s); err == nil {
		return s
	}
	return string(a.json)
}

// structured returns the JSON within the argument: of a JSON string, its content.
func (a argument) structured() string { return a.text() }

// fits says whether the argument has one of the types.
func (a argument) fits(types []string) bool {
	if len(types) == 0 {
		return true
	}
	return slices.ContainsFunc(types, a.is)
}

func (a argument) is(kind string) bool {
	switch kind {
	case "string":
		// Structured arguments are documented as strings and may come as JSON values.
		return a.json == nil || bytes.HasPrefix(a.json, []byte(`"`)) || bytes.HasPrefix(a.json, []byte("[")) ||
			bytes.HasPrefix(a.json, []byte("{"))
	case "boolean":
		_, err := strconv.ParseBool(a.text())
		return err == nil
	case "integer":
		_, err := strconv.Atoi(a.text())
		return err == nil
	case "number":
		_, err := strconv.ParseFloat(a.text(), 64)
		return err == nil
	case "array":
		return json.Valid([]byte(a.structured())) && strings.HasPrefix(strings.TrimSpace(a.structured()), "[")
	case "object":
		return json.Valid([]byte(a.structured())) && strings.HasPrefix(strings.TrimSpace(a.structured()), "{")
	case "null":
		return false
	default:
		return false
	}
}
