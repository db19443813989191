package rest_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/backout/backout/test/fakes/pagerduty/rest"
)

// document is a small OpenAPI document with each construct that Derive reads.
const document = `{"openapi":"3.0.2","paths":{"/things/{id}":{
 "parameters":[{"$ref":"#/components/parameters/id"}],
 "post":{"description":"prose","parameters":[
   {"name":"limit","in":"query","schema":{"type":"integer","maximum":100}},
   {"name":"kind[]","in":"query","schema":{"type":"array","items":{"type":"string","enum":["a","b"]}}},
   {"name":"since","in":"query","schema":{"type":"string","pattern":"YYYY-MM-DD"}},
   {"name":"From","in":"header","required":true,"schema":{"type":"string"}}],
  "requestBody":{"content":{"application/json":{"schema":{"allOf":[{"$ref":"#/components/schemas/Base"},{"type":"object","properties":{
    "size":{"type":"integer","minimum":1},"note":{"type":"string","nullable":true,"maxLength":3},
    "either":{"oneOf":[{"type":"string"},{"type":"object","required":["id"],"properties":{"id":{"type":"string"}}}]}}}]}}}},
  "responses":{"200":{"content":{"application/json":{"schema":{"type":"object","properties":{"thing":{"type":"object","properties":{"id":{"type":"string"}}}}}}}},"400":{"description":"prose"}}}}},
 "components":{"parameters":{"id":{"name":"id","in":"path","required":true,"schema":{"type":"string"}}},
  "schemas":{"Base":{"type":"object","required":["name"],"properties":{"name":{"type":"string","description":"prose"}}}}}}`

func derived(t *testing.T) *rest.Operation {
	t.Helper()
	facts, err := rest.Derive([]byte(document), rest.Selection{Source: "test", Operations: []string{"POST /things/{id}"}, ReplyDepth: 2})
	require.NoError(t, err)
	data, err := facts.Encode()
	require.NoError(t, err)
	require.NotContains(t, string(data), "prose")
	loaded, err := rest.Load(data)
	require.NoError(t, err)
	require.Equal(t, facts, loaded)
	op, vars, known := loaded.Match(http.MethodPost, "/things/7")
	require.True(t, known)
	require.Equal(t, "7", vars["id"])
	return op
}

func TestDeriveRefusesWhatTheDocumentLacks(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"GET /things/{id}", "POST /other", "POST"} {
		_, err := rest.Derive([]byte(document), rest.Selection{Operations: []string{name}})
		require.Error(t, err, name)
	}
	_, err := rest.Load([]byte(`{"source":"x","operations":[]}`))
	require.Error(t, err)
	_, err = rest.Load([]byte(`{"source":"x","operations":[{"method":"GET","path":"/"}],"extra":1}`))
	require.Error(t, err)
}

func TestCheckBody(t *testing.T) {
	t.Parallel()
	op := derived(t)
	tests := []struct {
		name, body, want string
	}{
		{name: "good", body: `{"name":"n","size":1,"note":null,"either":"x"}`},
		{name: "good alternative", body: `{"name":"n","either":{"id":"1"}}`},
		{name: "missing", body: `{}`, want: "body name: missing"},
		{name: "unknown", body: `{"name":"n","other":1}`, want: "body other: unknown"},
		{name: "null", body: `{"name":null}`, want: "body name: null"},
		{name: "type", body: `{"name":1}`, want: "body name: type"},
		{name: "fraction", body: `{"name":"n","size":1.5}`, want: "body size: type"},
		{name: "range", body: `{"name":"n","size":0}`, want: "body size: range"},
		{name: "too long", body: `{"name":"n","note":"abcd"}`, want: "body note: range"},
		{name: "no alternative", body: `{"name":"n","either":1}`, want: "body either: type"},
		{name: "incomplete alternative", body: `{"name":"n","either":{}}`, want: "body either: type"},
		{name: "array", body: `[]`, want: "body : type"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var body any
			require.NoError(t, json.Unmarshal([]byte(tt.body), &body))
			problems := op.CheckBody(body, false)
			if tt.want == "" {
				require.Empty(t, problems)
				return
			}
			require.NotEmpty(t, problems)
			require.Equal(t, tt.want, problems[0].String())
		})
	}
	require.Equal(t, rest.Missing, op.CheckBody(nil, true)[0].Code)
}

func TestCheckQueryHeadersAndReply(t *testing.T) {
	t.Parallel()
	op := derived(t)
	tests := []struct {
		name, query, want string
	}{
		{name: "good", query: "limit=100&kind[]=a&kind[]=b&since=2026-01-02"},
		{name: "unknown", query: "x=1", want: rest.Unknown},
		{name: "type", query: "limit=many", want: rest.WrongType},
		{name: "range", query: "limit=101", want: rest.OutOfRange},
		{name: "enum", query: "kind[]=c", want: rest.NotInEnum},
		{name: "mask", query: "since=today", want: rest.OutOfRange},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			query, err := url.ParseQuery(tt.query)
			require.NoError(t, err)
			problems := op.CheckQuery(query)
			if tt.want == "" {
				require.Empty(t, problems)
				return
			}
			require.Len(t, problems, 1)
			require.Equal(t, tt.want, problems[0].Code)
		})
	}
	require.Len(t, op.CheckHeaders(http.Header{}), 1)
	require.Empty(t, op.CheckHeaders(http.Header{"From": {"a@example.com"}}))
	require.Empty(t, op.CheckReply(200, map[string]any{"thing": map[string]any{"id": "1"}}))
	require.Len(t, op.CheckReply(200, map[string]any{"thing": map[string]any{"id": 1.0}}), 1)
	require.Len(t, op.CheckReply(201, nil), 1, "a success that the document lacks")
	require.Empty(t, op.CheckReply(400, "anything"))
}

func TestMatch(t *testing.T) {
	t.Parallel()
	facts := &rest.Facts{Operations: []*rest.Operation{
		{Method: "GET", Path: "/issues/{number}"},
		{Method: "GET", Path: "/issues/comments"},
		{Method: "GET", Path: "/contents/{path}"},
	}}
	tests := []struct {
		name, method, path, want, variable string
		known                              bool
	}{
		{name: "variable", method: "GET", path: "/issues/3", want: "/issues/{number}", variable: "3", known: true},
		{name: "literal wins", method: "GET", path: "/issues/comments", want: "/issues/comments", known: true},
		{name: "rest of the path", method: "GET", path: "/contents/a/b.txt", want: "/contents/{path}", variable: "a/b.txt", known: true},
		{name: "other method", method: "PUT", path: "/issues/3", known: true},
		{name: "longer", method: "GET", path: "/issues/3/x"},
		{name: "shorter", method: "GET", path: "/issues"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			op, vars, known := facts.Match(tt.method, tt.path)
			require.Equal(t, tt.known, known)
			if tt.want == "" {
				require.Nil(t, op)
				return
			}
			require.Equal(t, tt.want, op.Path)
			for _, v := range vars {
				require.Equal(t, tt.variable, v)
			}
		})
	}
}

func TestServerHoldsItsOwnAnswersToTheFacts(t *testing.T) {
	t.Parallel()
	facts := &rest.Facts{Source: "t", Operations: []*rest.Operation{derived(t)}}
	vendor := rest.Vendor{
		Facts:     facts,
		Authorize: func(*http.Request, *rest.Operation) (string, *rest.Reply) { return "", nil },
		Refuse:    func(*rest.Operation, []rest.Problem) rest.Reply { return rest.Reply{Status: 400} },
		Failure:   func(status int) rest.Reply { return rest.Reply{Status: status} },
	}
	_, err := rest.Listen("", vendor)
	require.ErrorContains(t, err, "has no handler")
	vendor.Handlers = map[string]func(*rest.Request) rest.Reply{
		"POST /things/{id}": func(*rest.Request) rest.Reply {
			return rest.Reply{Status: 200, Body: map[string]any{"thing": map[string]any{"ID": "1"}}}
		},
	}
	s, err := rest.Listen("", vendor)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	post := func(body string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL()+"/things/1", strings.NewReader(body))
		require.NoError(t, err)
		req.Header.Set("From", "a@example.com")
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return resp.StatusCode
	}
	require.Equal(t, 400, post(""), "the body is required")
	require.Empty(t, s.Violations())
	require.Equal(t, 500, post(`{"name":"n"}`), "the handler answers what the document lacks")
	require.Equal(t, []string{"POST /things/{id} 200 thing.ID unknown"}, s.Violations())

	vendor.Handlers["GET /none"] = vendor.Handlers["POST /things/{id}"]
	_, err = rest.Listen("", vendor)
	require.ErrorContains(t, err, "has no facts")
}
